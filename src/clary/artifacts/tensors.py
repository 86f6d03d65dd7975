"""PyTorch's tensors, and dictionaries of them such as a model's state, in the safetensors format.

The format (huggingface/safetensors, README: 8 bytes with the header's length, the header in JSON, the elements) is
written and read here, so that it needs no package in any image. A tensor that it cannot keep (on a GPU, with a
gradient, of an unusual layout) goes by ``torch.save``, and comes back by ``torch.load(weights_only=True)``, which runs
no code either.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import CHUNK, Chunk, Made, Spool
from clary.artifacts.plain import NotPlain, from_plain, to_plain
from clary.artifacts.storing import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
"""The format's names of types of elements, and PyTorch's."""
_ALIGNED = 8
_LONGEST_HEADER = 100 << 20
"""As the format's own library has it."""
_ONE = "tensor"


class TensorCodec:
    """A tensor in memory, or a dictionary of such by name; a model's ``state_dict()`` with its versions."""

    name = "safetensors"
    runs_code = False
    ending = ".safetensors"

    def takes(self, value: Any) -> bool:
        """Tell whether the format gives the value back."""
        held = _held(value)
        if held is None or "__metadata__" in held[0]:
            return False
        storages = [tensor.untyped_storage().data_ptr() for tensor in held[0].values() if tensor.numel()]
        return all(map(_is_plain, held[0].values())) and len(set(storages)) == len(storages)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Return header and elements, the latter from where they lie."""
        held = _held(value)
        assert held is not None  # as ``takes`` has told
        tensors, meta = held
        header = _header(tensors)

        def made() -> Iterator[Chunk]:
            yield header
            for tensor in tensors.values():
                raw = _raw(tensor)
                for start in range(0, raw.nbytes, CHUNK):
                    yield raw[start : start + CHUNK]

        return Made(len(header) + sum(_size(tensor) for tensor in tensors.values()), made), meta

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Return the tensors, filled as the bytes arrive."""
        import torch

        tensors = {}
        with Reader(source.chunks()) as reader:
            length = int.from_bytes(reader.read(8) or b"", "little")
            if length > _LONGEST_HEADER:
                raise ValueError("the header is too long")
            for name, about in json.loads(reader.read(length) or b"").items():
                tensor = torch.empty(about["shape"], dtype=getattr(torch, _TYPES[about["dtype"]]))
                raw = _raw(tensor)
                if reader.readinto(raw) != raw.nbytes:
                    raise ValueError("the tensor's bytes end too early")
                tensors[name] = tensor
            reader.finish()
        return _put_together(tensors, meta)

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return the digest of names, types, shapes and elements."""
        content, meta = self.write(value, None)  # type: ignore[arg-type]  # nothing is stored
        hashed = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
        for chunk in content.chunks():
            hashed.update(chunk)
        return hashed.hexdigest()


class SavedTensorCodec:
    """All other tensors, and dictionaries of them."""

    name = "torch-tensors"
    runs_code = False
    ending = ".pt"

    def takes(self, value: Any) -> bool:
        """Tell whether the value is a tensor or a dictionary of tensors."""
        return _held(value) is not None

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Save them."""
        torch = sys.modules["torch"]
        return Spool(lambda file: torch.save(value, file)), {}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Load them, and nothing else that a file may hold."""
        import torch

        with source.file() as file:
            return torch.load(file, weights_only=True)

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return nothing to compare by."""
        return None


def _held(value: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the tensors by name, and what else must be known; None for what is no such value."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if type(value) is torch.Tensor:
        return {_ONE: value}, {"kind": "tensor"}
    if type(value) not in (dict, OrderedDict) or not value:
        return None
    if any(type(name) is not str or type(tensor) is not torch.Tensor for name, tensor in value.items()):
        return None
    extra = dict(getattr(value, "__dict__", {}))
    kind = "dict" if type(value) is dict else "ordered"
    try:
        versions = [[name, to_plain(about)] for name, about in extra.pop("_metadata", {}).items()]
    except (NotPlain, AttributeError):
        return None
    return None if extra else (dict(value), {"kind": kind, "versions": versions})


def _put_together(tensors: dict[str, Any], meta: dict[str, Any]) -> Any:
    if meta["kind"] == "tensor":
        return tensors[_ONE]
    if meta["kind"] == "dict":
        return tensors
    state: Any = OrderedDict(tensors)
    if meta["versions"]:
        state._metadata = OrderedDict((name, from_plain(about)) for name, about in meta["versions"])
    return state


def _is_plain(tensor: Any) -> bool:
    torch = sys.modules["torch"]
    return bool(
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.requires_grad
        and not tensor.is_conj()
        and not tensor.is_neg()
        and tensor.is_contiguous()
        and not vars(tensor)
        and str(tensor.dtype).removeprefix("torch.") in _TYPES.values()
    )


def _header(tensors: dict[str, Any]) -> bytes:
    names = {theirs: ours for ours, theirs in _TYPES.items()}
    described, at = {}, 0
    for name, tensor in tensors.items():
        end = at + _size(tensor)
        kind = names[str(tensor.dtype).removeprefix("torch.")]
        described[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text


def _size(tensor: Any) -> int:
    return int(tensor.numel()) * int(tensor.element_size())


def _raw(tensor: Any) -> memoryview:
    """Return the tensor's elements as bytes, where they lie."""
    torch = sys.modules["torch"]
    if not tensor.numel():
        return memoryview(b"")
    raw: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return raw


CODECS = (TensorCodec(), SavedTensorCodec())
