"""PyTorch's values with the real PyTorch: run by ``scripts/torch``, in an environment of its own."""

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from typing import Any

import numpy as np
import safetensors.torch
import torch

from clary.artifacts import decode, digest, encode
from clary.errors import SerializationError
from clary.objects import ObjectStore, open_store

TYPES = "bfloat16 float16 float32 float64 int8 int64 uint8 bool complex64 float8_e4m3fn"


def kept(value: Any, store: ObjectStore, codec: str, *, trust: bool = False) -> Any:
    """Return the value as it comes back, kept in the way that is expected."""
    encoded = json.loads(json.dumps(encode(value, store)))
    assert encoded["c"] == codec, (encoded["c"], codec)
    if trust:
        try:
            decode(encoded, store, unpickle=False)
        except SerializationError as error:
            assert error.code == "value.untrusted"  # noqa: PT017 - no pytest here
        else:
            raise AssertionError("it was read without trust")
    return decode(encoded, store, unpickle=trust)


def check_tensors(store: ObjectStore) -> None:
    """Tensors of every type, layout and state."""
    for name in TYPES.split():
        tensor = torch.ones(3, 4).to(getattr(torch, name))
        back = kept(tensor, store, "safetensors")
        assert back.dtype == tensor.dtype
        assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))
        assert digest(back) == digest(tensor)
    assert kept(torch.tensor(3.5), store, "safetensors").shape == ()
    assert kept(torch.empty(0, 3), store, "safetensors").shape == (0, 3)
    assert kept(torch.ones(3, requires_grad=True), store, "torch-tensors").requires_grad
    turned = torch.arange(6).reshape(2, 3).T
    assert kept(turned, store, "torch-tensors").stride() == turned.stride()
    shared = torch.ones(4)
    both = kept({"a": shared, "b": shared}, store, "torch-tensors")
    assert both["a"].data_ptr() == both["b"].data_ptr()
    assert type(kept(torch.nn.Parameter(torch.ones(2)), store, "torch", trust=True)) is torch.nn.Parameter


def check_models(store: ObjectStore) -> None:
    """States, modules, and a module with the optimizer that shares its parameters."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    state: Any = model.state_dict()
    back: Any = kept(state, store, "safetensors")
    assert type(back) is OrderedDict
    assert list(back) == list(state)
    assert vars(back) == vars(state)
    model.load_state_dict(back)
    assert torch.equal(kept(model, store, "torch", trust=True)[0].weight, model[0].weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pair = kept([model, optimizer], store, "torch", trust=True)
    assert pair[1].param_groups[0]["params"][0] is pair[0][0].weight
    mixed = kept({"model": state, "epoch": 3, "array": np.arange(3)}, store, "parts")
    assert mixed["epoch"] == 3
    assert type(mixed["model"]) is OrderedDict
    opaque = kept({"model": model, "state": optimizer.state_dict(), "x": torch.ones(3)}, store, "parts", trust=True)
    assert torch.equal(opaque["x"], torch.ones(3))


def check_format(store: ObjectStore) -> None:
    """What the library of the format reads of a large state."""
    state = {"a": torch.randn(300, 300), "b": torch.zeros(3, dtype=torch.bfloat16)}
    encoded = encode(state, store)
    found = safetensors.torch.load_file(store.url(encoded["at"]))
    assert all(torch.equal(found[name], state[name]) for name in state)


def main() -> None:
    """Check all of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        for check in (check_tensors, check_models, check_format):
            check(store)
    print(f"torch {torch.__version__}: fine")


if __name__ == "__main__":
    main()
