"""pandas: frames, series and indexes as Parquet, or as Arrow where Parquet would lose categories.

Only what is known to come back equal is taken: an empty slice of the same columns makes the whole way there and back
first, and its types are compared. All else (columns of objects, attributes, labels that are no texts) is pickled.
"""

from __future__ import annotations

import hashlib
import io
import sys
from typing import IO, TYPE_CHECKING, Any

from clary.artifacts.content import Spool
from clary.artifacts.plain import NotPlain, from_plain, to_plain

if TYPE_CHECKING:
    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_VALUES = "value"
"""The column of a series that has no name to give it."""


class FrameCodec:
    """Exactly pandas' DataFrame, Series, and the plain kinds of Index."""

    name = "parquet"
    runs_code = False
    ending = ".parquet"

    def takes(self, value: Any) -> bool:
        """Tell whether the value comes back equal."""
        pandas = sys.modules["pandas"]
        if "pyarrow" not in sys.modules or type(value) not in _kinds(pandas):
            return False
        if getattr(value, "attrs", None) or not _flags_are_plain(value):
            return False
        try:
            frame, meta = _framed(value)
        except (NotPlain, ValueError, TypeError):
            return False
        return _labels_are_plain(frame, pandas) and _types_come_back(frame, meta["format"])

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Write the file."""
        frame, meta = _framed(value)
        return Spool(lambda file: _to_file(frame, file, meta["format"])), meta

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Return the frame, series or index."""
        with source.file() as file:
            frame = _from_file(file, meta["format"])
        if meta.get("freq") is not None and meta["kind"] != "index":
            frame.index.freq = meta["freq"]
        if meta["kind"] == "frame":
            return frame
        series = frame.iloc[:, 0]
        name = from_plain(meta["name"])
        if meta["kind"] == "series":
            return series.rename(name)
        index = sys.modules["pandas"].Index(series).rename(name)
        if meta.get("freq") is not None:
            index.freq = meta["freq"]
        return index

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return a digest of types, labels and values; pandas' own hash of rows is the same in every process."""
        from pandas.util import hash_pandas_object

        frame, meta = _framed(value)
        index = [str(kind) for kind in _index_types(frame.index)]
        described = [meta, type(frame.index).__name__, index, list(frame.index.names), list(frame.columns)]
        described.append([_type_text(kind) for kind in frame.dtypes])
        hashed = hashlib.sha256(repr(described).encode("utf-8", "surrogatepass"))
        hashed.update(hash_pandas_object(frame, index=True).to_numpy().tobytes())
        return hashed.hexdigest()


def _kinds(pandas: Any) -> tuple[Any, ...]:
    return pandas.DataFrame, pandas.Series, pandas.Index, pandas.DatetimeIndex, pandas.CategoricalIndex


def _flags_are_plain(value: Any) -> bool:
    flags = getattr(value, "flags", None)
    return flags is None or bool(flags.allows_duplicate_labels)


def _framed(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the value as a frame, and what else there is to know; raises NotPlain for a name that is no plain data."""
    pandas = sys.modules["pandas"]
    index = value if isinstance(value, pandas.Index) else value.index
    meta: dict[str, Any] = {"freq": getattr(index, "freqstr", None)}
    if isinstance(value, pandas.DataFrame):
        frame = value
        meta |= {"kind": "frame"}
    elif isinstance(value, pandas.Series):
        frame = value.to_frame(name=_VALUES)
        meta |= {"kind": "series", "name": to_plain(value.name)}
    else:
        frame = value.to_frame(index=False, name=_VALUES)
        meta |= {"kind": "index", "name": to_plain(value.name)}
    meta["format"] = "arrow" if _has_categories(frame) else "parquet"
    return frame, meta


def _has_categories(frame: Any) -> bool:
    kinds = [*frame.dtypes, *_index_types(frame.index)]
    return any(type(kind).__name__ == "CategoricalDtype" for kind in kinds)


def _index_types(index: Any) -> list[Any]:
    return list(index.dtypes) if index.nlevels > 1 else [index.dtype]


def _type_text(kind: Any) -> str:
    categories = getattr(kind, "categories", None)
    return str(kind) if categories is None else f"{kind!r} {list(categories)!r} {kind.ordered}"


def _labels_are_plain(frame: Any, pandas: Any) -> bool:
    """Tell whether columns are named by texts, each once, and the index' levels by texts that are no column's."""
    columns, names = list(frame.columns), list(frame.index.names)
    if type(frame.columns) is not pandas.Index or frame.columns.name is not None:
        return False
    if any(type(name) is not str or name.startswith("__index_level_") for name in columns):
        return False
    levels = [name for name in names if name is not None]
    if any(type(name) is not str for name in levels):
        return False
    both = columns + levels
    return len(set(both)) == len(both) and all(_is_utf8(name) for name in both)


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode()) or not name
    except UnicodeEncodeError:
        return False


def _types_come_back(frame: Any, form: str) -> bool:
    types = [*frame.dtypes, *_index_types(frame.index)]
    if any(_may_differ(kind) for kind in types):
        return False
    empty = frame.iloc[:0]
    file = io.BytesIO()
    try:
        _to_file(empty, file, form)
        file.seek(0)
        back = _from_file(file, form)
    except Exception:  # noqa: BLE001 - whatever the library does not take
        return False
    same_index = type(back.index) is type(empty.index) and _index_types(back.index) == _index_types(empty.index)
    return bool(
        same_index
        and list(back.dtypes) == list(empty.dtypes)
        and list(back.index.names) == list(empty.index.names)
        and back.columns.equals(empty.columns)
        and back.columns.dtype == empty.columns.dtype
    )


def _may_differ(kind: Any) -> bool:
    """Tell whether values of the type may come back as others though the type does not change."""
    if type(kind).__name__ == "CategoricalDtype":
        return _may_differ(kind.categories.dtype)
    if getattr(kind, "hasobject", False):  # NumPy's own type for Python objects
        return True
    return type(kind).__name__ in {"Float32Dtype", "Float64Dtype", "SparseDtype", "ArrowDtype"}


def _to_file(frame: Any, file: IO[bytes], form: str) -> None:
    import pyarrow

    if form == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pandas(frame), file)
        return
    batch = pyarrow.RecordBatch.from_pandas(frame)  # a table without rows would have no batch, and lose its categories
    with pyarrow.ipc.new_stream(file, batch.schema) as writer:
        writer.write_batch(batch)


def _from_file(file: IO[bytes], form: str) -> Any:
    import pyarrow

    if form == "parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(file).to_pandas()
    with pyarrow.ipc.open_stream(file) as reader:
        return reader.read_all().to_pandas()


CODECS = (FrameCodec(),)
