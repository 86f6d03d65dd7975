"""Arrow's tables, record batches and arrays, in its streaming format; chunks and metadata come back as they were."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import Spool

if TYPE_CHECKING:
    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_COLUMN = "value"


class ArrowCodec:
    """Exactly Table, RecordBatch, ChunkedArray and the arrays of Arrow's own types."""

    name = "arrow"
    runs_code = False
    ending = ".arrow"

    def takes(self, value: Any) -> bool:
        """Tell whether the value is one of them, without types of somebody's own."""
        pyarrow = sys.modules["pyarrow"]
        if type(value) in (pyarrow.Table, pyarrow.RecordBatch):
            return not any(_is_own(field.type, pyarrow) for field in value.schema)
        if type(value) is pyarrow.ChunkedArray or isinstance(value, pyarrow.Array):
            return not _is_own(value.type, pyarrow)
        return False

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Write the stream."""
        pyarrow = sys.modules["pyarrow"]
        kind = "array" if isinstance(value, pyarrow.Array) else type(value).__name__
        if kind == "array":
            batches = [pyarrow.RecordBatch.from_arrays([value], [_COLUMN])]
        elif kind == "RecordBatch":
            batches = [value]
        else:
            table = value if kind == "Table" else pyarrow.table({_COLUMN: value})
            batches = table.to_batches()
        schema = batches[0].schema if batches else table.schema

        def write(file: Any) -> None:
            with pyarrow.ipc.new_stream(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)

        return Spool(write), {"kind": kind}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Read the stream."""
        import pyarrow

        with source.file() as file, pyarrow.ipc.open_stream(file) as reader:
            if meta["kind"] == "RecordBatch":
                return reader.read_next_batch()
            if meta["kind"] == "array":
                return reader.read_next_batch().column(0)
            table = reader.read_all()
        return table if meta["kind"] == "Table" else table.column(0)

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return nothing to compare by: equal tables may lie in other chunks."""
        return None


def _is_own(kind: Any, pyarrow: Any) -> bool:
    """Tell whether a type is an extension, which a reader may not know, or has one inside."""
    if isinstance(kind, pyarrow.BaseExtensionType):
        return True
    if pyarrow.types.is_dictionary(kind):
        return _is_own(kind.value_type, pyarrow)
    return any(_is_own(kind.field(number).type, pyarrow) for number in range(kind.num_fields))


CODECS = (ArrowCodec(),)
