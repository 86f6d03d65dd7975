"""Tensors: what is ours of it, the safetensors format, with a stand-in that has NumPy's arrays beneath.

PyTorch itself takes gigabytes; ``scripts/torch`` runs the same and more with the real one.
"""

from __future__ import annotations

import json
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from clary.artifacts import decode, digest, encode
from clary.errors import SerializationError
from clary.objects.folder import FolderStore


class Dtype(str):
    __slots__ = ()

    def __str__(self) -> str:
        return f"torch.{str.__str__(self)}"


class Tensor:
    """As much of a tensor as is asked for."""

    __module__ = "torch"
    requires_grad = False
    layout = "strided"
    device = types.SimpleNamespace(type="cpu")
    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: Dtype(self.array.dtype.name))
    numel = lambda self: self.array.size  # noqa: E731 - a stand-in
    element_size = lambda self: self.array.itemsize  # noqa: E731
    is_conj = is_neg = lambda _self: False
    is_contiguous = lambda self: self.array.flags.c_contiguous  # noqa: E731
    reshape = lambda self, *shape: Tensor(self.array.reshape(*shape))  # noqa: E731
    view = lambda self, kind: Tensor(self.array.view(str.__str__(kind)))  # noqa: E731
    numpy = lambda self: self.array  # noqa: E731
    __dict__ = {}  # a tensor without attributes of its own

    def untyped_storage(self) -> Any:
        return types.SimpleNamespace(data_ptr=lambda: self.array.ctypes.data)


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("torch")
    module.Tensor, module.strided = Tensor, "strided"
    module.nn = types.SimpleNamespace(Module=type("Module", (), {}))
    module.uint8 = Dtype("uint8")
    for name in ("float32", "float64", "int64", "bool"):
        setattr(module, name, Dtype(name))
    module.empty = lambda shape, dtype: Tensor(np.empty(shape, str.__str__(dtype)))
    monkeypatch.setitem(sys.modules, "torch", module)
    found: types.ModuleType = module
    return found


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path))


def kept(value: Any, store: FolderStore) -> tuple[Any, dict[str, Any]]:
    encoded = json.loads(json.dumps(encode(value, store)))
    return decode(encoded, store, unpickle=False), encoded


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.array(True), np.zeros((0, 3), "i8"), np.ones(3, "f4")]
)
def test_a_tensor(store: FolderStore, array: Any) -> None:
    back, encoded = kept(Tensor(array), store)
    assert encoded["c"] == "safetensors"
    assert type(back) is Tensor
    assert (back.dtype, back.shape, back.array.tobytes()) == (Dtype(array.dtype.name), array.shape, array.tobytes())
    assert encoded["d"] == digest(Tensor(array)) == digest(back)


def test_a_state_with_its_versions(store: FolderStore) -> None:
    state: Any = OrderedDict(b=Tensor(np.ones(2)), a=Tensor(np.zeros((2, 2), "f4")))
    state._metadata = OrderedDict({"": {"version": 1}})
    back: Any
    back, encoded = kept(state, store)
    assert encoded["c"] == "safetensors"
    assert type(back) is OrderedDict
    assert list(back) == ["b", "a"]
    assert vars(back) == vars(state)
    back, encoded = kept({"epoch": 3, "state": {"w": Tensor(np.ones(2))}}, store)
    assert encoded["c"] == "parts"
    assert back["epoch"] == 3


def test_other_programs_read_what_is_written(store: FolderStore) -> None:
    large = {"w": Tensor(np.arange(20_000.0)), "flag": Tensor(np.array([True, False])), "none": Tensor(np.zeros(0))}
    _, encoded = kept(large, store)
    found = safetensors.numpy.load_file(store.url(encoded["at"]))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.array.tolist() for name, tensor in large.items()
    }


def test_a_file_that_lies_about_its_length_is_told(store: FolderStore) -> None:
    import base64

    for data in (b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]", (1 << 40).to_bytes(8, "little")):
        made_up = {"c": "safetensors", "t": "Tensor", "b": base64.b64encode(data).decode(), "m": {"kind": "tensor"}}
        with pytest.raises(SerializationError) as caught:
            decode(made_up, store)
        assert caught.value.code == "value.unreadable"
