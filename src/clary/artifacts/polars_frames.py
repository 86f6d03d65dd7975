"""polars: frames and series in Arrow's file format, which polars writes and reads itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import Spool

if TYPE_CHECKING:
    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore


class PolarsCodec:
    """Exactly polars' DataFrame and Series, without columns of Python objects."""

    name = "polars"
    runs_code = False
    ending = ".arrow"

    def takes(self, value: Any) -> bool:
        """Tell whether the value is one of them."""
        polars = sys.modules["polars"]
        if type(value) is polars.DataFrame:
            return not any(_has_objects(kind, polars) for kind in value.dtypes)
        return type(value) is polars.Series and not _has_objects(value.dtype, polars)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Write the file."""
        polars = sys.modules["polars"]
        is_series = type(value) is polars.Series
        frame = value.to_frame() if is_series else value
        meta = {"kind": "series" if is_series else "frame", "height": frame.height}
        return Spool(lambda file: frame.write_ipc(file, compression="zstd")), meta

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Read the file."""
        import polars

        with source.file() as file:
            frame = polars.read_ipc(file, use_pyarrow=False)
        return frame.to_series(0) if meta["kind"] == "series" else frame

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return nothing to compare by: polars' own hash of rows changes from version to version."""
        return None


def _has_objects(kind: Any, polars: Any) -> bool:
    if kind == polars.Object:
        return True
    inner = [getattr(kind, "inner", None), *(field.dtype for field in getattr(kind, "fields", ()))]
    return any(_has_objects(one, polars) for one in inner if one is not None)


CODECS = (PolarsCodec(),)
