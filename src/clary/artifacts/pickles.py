"""The last resort: pickle; where it does not do, cloudpickle; for what holds PyTorch's modules and tensors, its own.

Reading any of these back runs code that the value carries, so only a reader who trusts its writer does it.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
from collections import ChainMap
from typing import IO, TYPE_CHECKING, Any, ClassVar

from clary.artifacts import faults, names
from clary.artifacts.content import Spool
from clary.errors import ClaryError

if TYPE_CHECKING:
    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_PROTOCOL = 5


class PickleCodec:
    """Whatever pickles."""

    name = "pickle"
    runs_code = True
    ending = ".pkl"

    def takes(self, value: Any) -> bool:
        """Tell whether the value is left to pickle: every value that is not PyTorch's."""
        return not is_torch(value)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Pickle it."""
        return Spool(lambda file: pickle.dump(value, file, protocol=_PROTOCOL)), {}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Unpickle it, once all the bytes are known to be right."""
        with source.file() as file:
            return _Unpickler(file).load()

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Equal values may differ in their bytes: there is no digest to compare by."""
        return None


class CloudpickleCodec(PickleCodec):
    """What pickles by value only: lambdas, classes that are local to a function."""

    name = "cloudpickle"

    def takes(self, value: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Tell whether cloudpickle is installed."""
        return importlib.util.find_spec("cloudpickle") is not None

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Pickle it; refuses what cloudpickle would turn into something else (an open file into its text)."""
        import cloudpickle

        class Strict(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
            dispatch_table: ClassVar[Any] = ChainMap(
                {io.TextIOWrapper: _refused, memoryview: _refused}, cloudpickle.Pickler.dispatch_table
            )

        return Spool(lambda file: Strict(file, protocol=_PROTOCOL).dump(value)), {}


class TorchCodec(PickleCodec):
    """PyTorch's modules, optimizers' states, and lists that hold them, in the format of ``torch.save``."""

    name = "torch"
    ending = ".pt"

    def takes(self, value: Any) -> bool:
        """Tell whether it is, or directly holds, a module or a tensor."""
        return is_torch(value)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Save it."""
        torch = sys.modules["torch"]
        return Spool(lambda file: torch.save(value, file)), {}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Load it."""
        import torch

        with source.file() as file:
            return torch.load(file, map_location=None, pickle_module=_ForTorch, weights_only=False)


PICKLE, CLOUDPICKLE, TORCH = PickleCodec(), CloudpickleCodec(), TorchCodec()
CODECS = (TORCH, PICKLE, CLOUDPICKLE)


def written(value: Any, store: ObjectStore, label: str) -> tuple[PickleCodec, Content]:
    """Return the first of these codecs that can write the value, and the bytes.

    Raises SerializationError (``value.not_serializable``) naming what in it is in the way, (``value.no_space``).
    """
    first: Exception | None = None
    for codec in CODECS:
        if not codec.takes(value):
            continue
        try:
            return codec, codec.write(value, store)[0]
        except ClaryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the objects' own hooks raise
            first = first or error
    assert first is not None  # pickle and PyTorch's take all between them
    raise faults.not_serializable(value, label, first) from first


def is_torch(value: Any) -> bool:
    """Tell whether the value is a tensor or module of PyTorch's, or a list or dictionary that directly holds one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    kinds = (torch.Tensor, torch.nn.Module)
    held = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, kinds) or any(isinstance(item, kinds) for item in held)


def _refused(value: Any) -> Any:
    raise TypeError(f"cannot pickle '{type(value).__qualname__}' object")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Find classes of the flow's own file under either of its names."""
        try:
            return names.find(module, name)
        except (ImportError, AttributeError):
            return super().find_class(module, name)


class _ForTorch:
    """What ``torch.load`` takes for the module pickle."""

    Unpickler = _Unpickler

    @staticmethod
    def load(file: IO[bytes], **options: Any) -> Any:
        """Read one object."""
        return _Unpickler(file, **options).load()
