"""What a person is shown of a value without reading it: one line, and a small form to show, at most 2 KiB.

The form is plain data; ``kind`` is one of:

- ``text``: ``text``;
- ``metrics``: ``values``, numbers by name;
- ``tree``: ``type``, ``count`` and ``items``, pairs of a name and a line;
- ``array``: ``dtype``, ``shape`` and ``values``, the first ones as text;
- ``table``: ``count`` (rows, columns), ``columns`` (pairs of name and type) and the first ``rows``, as texts;
- ``image``: ``format``, ``width``, ``height``, and ``thumbnail``, the key of a PNG where there is one;
- ``files``: ``count``, ``size`` and ``files``, pairs of path and bytes.

Nothing of the value runs but its ``repr``, in a thread that is not waited for long, and not for large values. Secrets
in use are masked.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import reprlib
import stat
import struct
import sys
import threading
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import Memory
from clary.artifacts.paths import has_content
from clary.artifacts.storing import keep
from clary.secrets.redaction import mask, masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.objects import ObjectStore

MOST = 2048
"""Bytes of a preview as JSON."""
_LINE = 80
_COUNTED = 1000
"""Members from which on only their number is told."""
_CELL = 60
_ROWS, _COLUMNS, _ITEMS, _FILES = 8, 20, 40, 30
_LARGE = 4 << 20
"""Bytes of a kept value from which on its own ``repr`` is not asked."""
_SECONDS = 0.5
"""For a ``repr`` of the user's."""
_LONGEST_TEXT = 1000
_THUMBNAIL = 256
"""Pixels of a side."""
_BUILT_IN = (list, tuple, dict, set, frozenset, str, bytes, bytearray)

_SCALARS = (int, float, bool, complex, type(None))


class _Repr(reprlib.Repr):
    """A bounded ``repr`` that leaves dictionaries in their order."""

    def repr_bytes(self, x: bytes | bytearray, level: int) -> str:  # noqa: ARG002 - the library's
        return repr(x[: self.maxother]) + ("…" if len(x) > self.maxother else "")

    repr_bytearray = repr_bytes

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if not x or level <= 0:
            return "{…}" if x else "{}"
        shown = [
            f"{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}"
            for key, item in islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join(shown) + (", …" if len(x) > self.maxdict else "") + "}"


_repr = _Repr()
_repr.maxlevel = 4
_repr.maxdict = _repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = 20
_repr.maxstring = _repr.maxother = 200


def line(value: Any, size: int = 0) -> str:
    """Return one line of at most 80 characters. ``size`` is that of the kept value in bytes."""
    kind = type(value).__qualname__
    shape = getattr(value, "shape", None)
    if isinstance(value, Path):
        return _cut(_file_line(value), _LINE)
    if isinstance(shape, tuple):
        return f"{kind} {getattr(value, 'dtype', '')} {shape}".replace("  ", " ")
    if isinstance(value, _BUILT_IN) and len(value) > _COUNTED:
        return f"{kind} of {len(value):,}"
    return _cut(_text(value, size), _LINE)


def show(value: Any, size: int = 0, store: ObjectStore | None = None) -> dict[str, Any]:
    """Return the form to show of a value, a picture's with a thumbnail that is kept in ``store``."""
    try:
        form = _form(value, size, store)
    except Exception:  # noqa: BLE001 - a preview never fails a run
        form = {"kind": "text", "text": type(value).__qualname__}
    return _trimmed(masked(form))


def _form(value: Any, size: int, store: ObjectStore | None) -> dict[str, Any]:
    package = type(value).__module__.partition(".")[0]
    if isinstance(value, Path):
        return _files(value)
    if isinstance(value, (bytes, bytearray)) and bytes(value[:8]) == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack(">II", value[16:24])
        return {"kind": "image", "format": "PNG", "width": width, "height": height}
    if package == "PIL":
        return _picture(value, store)
    if package == "matplotlib":
        return _figure(value, store)
    maker = _BY_PACKAGE.get(package)
    found = maker(value) if maker is not None else None
    if found is not None:
        return found
    if isinstance(value, dict):
        return _metrics(value) or _tree(value, value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return _tree(value, ((str(number), item) for number, item in enumerate(value)))
    return {"kind": "text", "text": _cut(_text(value, size), _LONGEST_TEXT, lines=True)}


def _metrics(value: dict[Any, Any]) -> dict[str, Any] | None:
    if not 0 < len(value) <= _ITEMS or not all(type(name) is str for name in value):
        return None
    if not all(type(number) in (int, float) for number in value.values()):
        return None
    return {"kind": "metrics", "values": {_cut(name, _CELL): _number(number) for name, number in value.items()}}


def _number(number: float) -> Any:
    """Return the number where any reader of JSON takes it, else its text."""
    return number if math.isfinite(number) and abs(number) < 1 << 53 else str(number)


def _tree(value: Any, members: Any) -> dict[str, Any]:
    items = [
        [_cut(_text(name, 0) if type(name) is not str else name, _CELL), line(item)]
        for name, item in islice(members, _ITEMS)
    ]
    return {"kind": "tree", "type": type(value).__qualname__, "count": len(value), "items": items}


def _array(value: Any) -> dict[str, Any] | None:
    numpy = sys.modules["numpy"]
    if not isinstance(value, numpy.ndarray) or value.dtype.hasobject:
        return None
    first = value.reshape(-1)[:20] if value.flags.c_contiguous else value[(slice(0, 3),) * value.ndim].reshape(-1)[:20]
    text = ", ".join(str(item) for item in first.tolist())
    values = _cut(text + (", …" if value.size > first.size else ""), 300)
    return {"kind": "array", "dtype": str(value.dtype), "shape": list(value.shape), "values": values}


def _pandas(value: Any) -> dict[str, Any] | None:
    if not hasattr(value, "to_frame") and not hasattr(value, "iloc"):
        return None
    frame = value if hasattr(value, "columns") else value.to_frame()
    first = frame.iloc[:_ROWS, :_COLUMNS]
    columns = zip(first.columns, first.dtypes, strict=True)
    rows = [[_cell(item) for item in row] for row in first.itertuples(index=False, name=None)]
    return _table(frame.shape, columns, rows)


def _polars(value: Any) -> dict[str, Any] | None:
    if not hasattr(type(value), "shape"):
        return None  # a query: polars works it out, and warns, when it is asked for its columns
    frame = value if hasattr(value, "columns") else value.to_frame()
    first = frame[:_ROWS, :_COLUMNS]
    columns = zip(first.columns, first.dtypes, strict=True)
    return _table(frame.shape, columns, [[_cell(item) for item in row] for row in first.rows()])


def _arrow(value: Any) -> dict[str, Any] | None:
    if not hasattr(value, "schema"):
        return {
            "kind": "array",
            "dtype": str(value.type),
            "shape": [len(value)],
            "values": _cut(str(value[:10].to_pylist()), 300),
        }
    first = value.slice(0, _ROWS).select(list(range(min(_COLUMNS, value.num_columns))))
    columns = [(field.name, field.type) for field in first.schema]
    held = [column.to_pylist() for column in first.columns]
    return _table(
        (value.num_rows, value.num_columns), columns, [[_cell(item) for item in row] for row in zip(*held, strict=True)]
    )


def _torch(value: Any) -> dict[str, Any] | None:
    if not hasattr(value, "dtype"):
        return None
    return {"kind": "array", "dtype": str(value.dtype), "shape": list(value.shape), "values": ""}


_BY_PACKAGE: dict[str, Callable[[Any], dict[str, Any] | None]] = {
    "numpy": _array,
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _arrow,
    "torch": _torch,
}


def _table(count: Any, columns: Any, rows: list[list[str]]) -> dict[str, Any]:
    named = [[_cut(str(name), _CELL), str(kind)] for name, kind in columns]
    return {"kind": "table", "count": [int(number) for number in count], "columns": named, "rows": rows}


def _cell(item: Any) -> str:
    return _cut(item if isinstance(item, str) else str(item), _CELL)


def _picture(value: Any, store: ObjectStore | None) -> dict[str, Any]:
    form = {"kind": "image", "format": getattr(value, "format", None) or value.mode}
    form |= {"width": int(value.width), "height": int(value.height)}
    small = value.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    if small.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        small = small.convert("RGB")
    return form | _kept_picture(lambda file: small.save(file, "PNG"), store)


def _figure(value: Any, store: ObjectStore | None) -> dict[str, Any]:
    width, height = (float(inches) for inches in value.get_size_inches())
    dpi = float(value.dpi)
    form = {"kind": "image", "format": "figure", "width": round(width * dpi), "height": round(height * dpi)}
    small = _THUMBNAIL / max(width, height, 1e-9)
    return form | _kept_picture(lambda file: value.savefig(file, format="png", dpi=small), store)


def _kept_picture(write: Callable[[Any], object], store: ObjectStore | None) -> dict[str, Any]:
    if store is None:
        return {}
    file = io.BytesIO()
    write(file)
    return {"thumbnail": keep(Memory(file.getvalue()), store, 0)["at"]}


def _files(path: Path) -> dict[str, Any]:
    if not has_content(path):
        return {"kind": "text", "text": str(path)}
    found = [(path.name, path.stat().st_size)] if path.is_file() else _below(path)
    shown = [[_cut(name, 120), size] for name, size in found[:_FILES]]
    return {"kind": "files", "count": len(found), "size": sum(size for _, size in found), "files": shown}


def _below(top: Path) -> list[tuple[str, int]]:
    found = []
    for path in sorted(top.rglob("*")):
        seen = path.lstat()
        if stat.S_ISREG(seen.st_mode):
            found.append((path.relative_to(top).as_posix(), seen.st_size))
    return found


def _file_line(path: Path) -> str:
    if not has_content(path):
        return repr(path)
    kind = "folder" if path.is_dir() else "file"
    return f"{kind} {path.resolve().name}"


def _text(value: Any, size: int) -> str:
    """Return the value's text, masked; only its type's name where asking it would be too much."""
    kind = type(value)
    if isinstance(value, _BUILT_IN) and kind in _BUILT_IN:
        return mask(_repr.repr(value))
    if kind in _SCALARS:
        return mask(repr(value))
    if getattr(kind, "__repr__", None) is object.__repr__:
        return kind.__qualname__  # else an address in memory, another one each time
    if size > _LARGE:
        return kind.__qualname__
    found = _asked(value)
    return kind.__qualname__ if found is None else mask(found)


def _asked(value: Any) -> str | None:
    """Return the value's own ``repr``; None where that fails or takes too long."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(BaseException):  # a preview never fails a run
            found.append(str(repr(value))[:100_000])

    thread = threading.Thread(target=ask, name="clary-preview", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return found[0] if found else None


def _cut(text: str, most: int, *, lines: bool = False) -> str:
    text = text if lines else " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _trimmed(form: dict[str, Any]) -> dict[str, Any]:
    """Return the form within its bounds: members are left out from the end until it fits."""
    while len(json.dumps(form)) > MOST:
        longest = max(
            (name for name in form if isinstance(form[name], (list, dict, str))),
            key=lambda name: len(json.dumps(form[name])),
        )
        part = form[longest]
        if isinstance(part, dict):
            form[longest] = dict(list(part.items())[: len(part) // 2])
        else:
            form[longest] = part[: len(part) // 2]
            if longest == "columns":
                form["rows"] = [row[: len(form[longest])] for row in form["rows"]]
    return form
