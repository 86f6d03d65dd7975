"""A flow from its file or module: the same steps in the job, on the laptop, and for a run that is resumed elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.artifacts import names

if TYPE_CHECKING:
    from types import ModuleType

    from clary.journal.records import Record


def load_module(root: Path, flow: Record) -> ModuleType:
    """Import the module that holds the flow.

    Args:
        root: the project's folder.
        flow: ``{"file": path below the root, "name": …}`` or ``{"module": dotted name, "name": …}``.

    Raises whatever importing the user's code raises, FileNotFoundError when the file is not there.
    """
    if "file" not in flow:
        _search_first(root, root / "src")
        module = importlib.import_module(flow["module"])
        names.set_flow_module(flow["module"])
        return module
    path = root / flow["file"]
    _search_first(root, path.parent)
    known = sys.modules.get(path.stem)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path.resolve():
        return known
    module = _execute(path)
    names.set_flow_module(path.stem)
    return module


def find_flow(module: ModuleType, name: str) -> Any:
    """Return what the module calls by that name: an attribute, or a flow with that name of its own; None if neither."""
    from clary.flows import Flow

    found = getattr(module, name, None)
    if found is not None:
        return found
    return next((one for one in vars(module).values() if isinstance(one, Flow) and one.name == name), None)


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(str(path))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise
    return module


def _search_first(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
