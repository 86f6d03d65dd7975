"""Classes by name, there and back. The file that is run as a script is ``__main__`` there and a module elsewhere."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_flow_module: list[str] = []


def set_flow_module(name: str) -> None:
    """Say which module stands for what was ``__main__`` when the flow was run as a script."""
    _flow_module[:] = [name]


def name_of(kind: type) -> str:
    """Return ``module:qualified name``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def find(module: str, qualname: str) -> Any:
    """Return what the name stands for in this process; raises ImportError or AttributeError."""
    found: Any = _module(module, qualname.split(".", maxsplit=1)[0])
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def find_class(name: str) -> Any:
    """Return what ``module:qualified name`` stands for."""
    module, _, qualname = name.partition(":")
    return find(module, qualname)


def _module(name: str, attribute: str) -> Any:
    main = sys.modules.get("__main__")
    if name == "__main__" and not hasattr(main, attribute) and _flow_module:
        return importlib.import_module(_flow_module[0])
    if name not in sys.modules and Path(getattr(main, "__file__", None) or "").stem == name:
        return main
    return importlib.import_module(name)
