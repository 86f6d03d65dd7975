"""Naming a flow: ``path/file.py:flow`` or ``module:flow`` on the command line, the object itself in Python."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary import errors
from clary.code.project import Project, find_project
from clary.errors import ClaryError, NotFoundError, UsageError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    from clary.flows import Flow
    from clary.journal.records import Record
    from clary.settings.effective import Effective


_MIGRATIONS = {f"clary.{name}": f"docs/how-to/migrate-from-{name}.md" for name in ("kitaru", "zenml")}
"""Where it is told what became of the modules of other tools."""
_STDLIB = sys.stdlib_module_names - {"test"}
"""``test`` is of use to nobody but Python's own tests, and people call their files so."""


_MAIN = "__main__"
"""The module of a flow that is in no file."""


@dataclass(frozen=True)
class FlowTarget:
    """A flow that can be run, and where its code lies."""

    flow: Flow[Any, Any]
    project: Project | None
    """None for a flow that is in no file (typed into an interpreter): it runs in this process only."""
    spec: Record
    """How the job finds it: ``{"file" | "module", "name"}``."""
    effective: Effective | None = None
    """The options that hold for its run, once they are known."""


def load_target(target: str) -> FlowTarget:
    """Return the flow that ``path/file.py:flow`` or ``module:flow`` names; its module is imported.

    Raises UsageError: ``target.malformed``, ``target.file_not_found``, ``target.module_not_found``,
    ``target.import_failed``, ``target.flow_not_found``, ``target.not_a_flow`` or ``target.hides_stdlib``.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        step = "Write path/file.py:FLOW or module:FLOW, such as examples/digits.py:digits."
        if target.rstrip(":").endswith(".py"):
            step = f"Name the flow in the file: {target.rstrip(':')}:FLOW."
        raise UsageError("target.malformed", f"{target!r} does not name a flow.", next_step=step, field="target")
    if place.endswith(".py") or "/" in place:
        project = find_project(_existing_file(Path(place)))
        spec = {"file": project.entry, "name": name}
    else:
        project, spec = _module_project(place), {"module": place, "name": name}
    return _loaded(project, spec)


def reload_target(root: Path, spec: Record) -> FlowTarget:
    """Return the flow that a run's spec names, from the project's folder on this machine.

    Raises what ``load_target`` raises; NotFoundError (``run.project_not_found``) for a flow that another process had in
    no file.
    """
    if "file" in spec:
        _existing_file(root / spec["file"])
    elif spec["module"] == _MAIN:
        _check_main(spec["name"])
    return _loaded(Project(root, spec.get("file", "")), spec)


def target_of(flow: Flow[Any, Any]) -> FlowTarget:
    """Return the target for a flow object of this process."""
    function = inspect.unwrap(flow.function)
    module = sys.modules.get(function.__module__)
    name = _name_in(module, flow)
    file = _source_file(function)
    if file is None or name is None:
        return FlowTarget(flow, None, {"module": function.__module__, "name": name or flow.name})
    dotted = _dotted_name(module) or function.__module__
    if "." not in dotted:
        project = find_project(file)
        return FlowTarget(flow, project, {"file": project.entry, "name": name})
    return FlowTarget(flow, _project_of_module(dotted, file), {"module": dotted, "name": name})


def _check_main(name: str) -> None:
    """Refuse a flow that was typed into another process, whose code nothing has kept."""
    from clary.flows import Flow
    from clary.runtime.loading import find_flow

    if isinstance(find_flow(sys.modules[_MAIN], name), Flow):
        return
    raise NotFoundError(
        "run.project_not_found",
        f"The flow {name} was in no file (python -c, standard input or an interpreter), so its code is gone.",
        next_step=f'Put it into a file and start a new run there; {name}.replay(RUN, at=CALL, on_change="accept") '
        "begins one with what this run has recorded before that call.",
        field="run",
    )


def _loaded(project: Project, spec: Record) -> FlowTarget:
    from clary.flows import Flow
    from clary.runtime.loading import find_flow, load_module

    where = spec.get("file") or spec["module"]
    try:
        module = load_module(project.root, spec)
    except ClaryError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise _import_failed(where, project.root, error) from error
    found = find_flow(module, spec["name"])
    if isinstance(found, Flow):
        return FlowTarget(found, project, spec)
    raise _no_flow(where, module, spec["name"], found)


def check_name(file: str) -> None:
    """Refuse a flow's file that hides a module of Python itself; raises UsageError (``target.hides_stdlib``).

    The flow's module goes by the file's name, so whatever imports that module later gets the flow's instead: threads,
    multiprocessing and boto3 then break in places that say nothing of it.
    """
    path = Path(file)
    if path.stem not in _STDLIB:
        return
    raise UsageError(
        "target.hides_stdlib",
        f"The file {path.name} has the name of a module of Python itself, which nothing could import then.",
        next_step=f"Rename it, for example to {path.stem}_flow.py.",
        field="target",
    )


def _existing_file(file: Path) -> Path:
    if file.is_file() and file.suffix == ".py":
        check_name(str(file))
        return file
    if file.is_file():
        raise UsageError(
            "target.malformed",
            f"{file} is not a Python file (.py).",
            next_step="Name the .py file that holds the flow: path/file.py:FLOW.",
            field="target",
        )
    meant = nearest(file.name, [path.name for path in _python_files(file.parent)])
    if meant:
        step = f"Did you mean {file.with_name(meant)}?"
    elif file.is_dir():
        step = "That is a folder: name the file in it that holds the flow."
    else:
        step = f"Check the path; it is looked for from {Path.cwd()}."
    raise UsageError("target.file_not_found", f"There is no file {file}.", next_step=step, field="target")


def _python_files(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.py"))
    except OSError:
        return []


def _module_project(name: str) -> Project:
    here = Path.cwd()
    for folder in (here / "src", here):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise _no_module(name, str(error)) from error
    except (Exception, SystemExit) as error:  # a package above it is imported on the way
        raise _import_failed(name.rpartition(".")[0], here, error) from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise _no_module(name, "no such module in this folder, its src/ or the environment")
    return _project_of_module(name, Path(spec.origin))


def _project_of_module(name: str, file: Path) -> Project:
    """Return the project of a module: where the job can import it, from the root or its ``src``."""
    file = file.resolve()
    folder = file.parents[name.count(".") + (file.name == "__init__.py")]
    project = find_project(file)
    root = project.root if folder in (project.root, project.root / "src") else folder
    return Project(root, file.relative_to(root).as_posix())


def _name_in(module: ModuleType | None, flow: Flow[Any, Any]) -> str | None:
    """Return the name by which the module holds the flow (``.on()`` makes another object of the same function)."""
    from clary.flows import Flow

    held = vars(module) if module is not None else {}
    names = [name for name, value in held.items() if isinstance(value, Flow) and value.function is flow.function]
    return flow.name if flow.name in names else next(iter(names), None)


def _source_file(function: Any) -> Path | None:
    try:
        file = Path(inspect.getsourcefile(function) or "")
    except TypeError:
        return None
    return file if file.is_file() else None


def _dotted_name(module: ModuleType | None) -> str | None:
    """Return the name under which ``python -m`` was asked for the module."""
    spec = getattr(module, "__spec__", None)
    return spec.name if spec is not None else None


def _no_module(name: str, reason: str) -> UsageError:
    return UsageError(
        "target.module_not_found",
        f"The module {name} cannot be found: {reason}.",
        next_step="Run the command in the project's folder, or name the file: path/file.py:FLOW.",
        field="target",
    )


def _no_flow(where: str, module: ModuleType, name: str, found: Any) -> UsageError:
    from clary.flows import Flow

    flows = sorted({key for key, value in vars(module).items() if isinstance(value, Flow)})
    listed = f"It has: {', '.join(flows)}." if flows else "It has no flow at all."
    if found is not None:
        step = f"Decorate it with @flow. {listed}" if callable(found) else listed
        summary = f"{name} in {where} is no flow; its type is {type(found).__name__}."
        return UsageError("target.not_a_flow", summary, next_step=step, field="target", details={"flows": flows})
    meant = nearest(name, flows)
    return UsageError(
        "target.flow_not_found",
        f"{where} has no flow {name!r}.",
        next_step=f"Did you mean {meant!r}? {listed}" if meant else listed,
        field="target",
        details={"flows": flows},
    )


def _import_failed(where: str, root: Path, error: BaseException) -> UsageError:
    place, line = _where(root, error)
    at = f"{place}:{line}" if line else where
    message = (error.msg if isinstance(error, SyntaxError) else str(error)) or "no message"
    return UsageError(
        "target.import_failed",
        f"{where} cannot be imported. {at}: {type(error).__name__}: {message}",
        next_step=_import_step(where, error),
        field="target",
        details={"file": place, "line": line, "exception": type(error).__name__},
    )


def _where(root: Path, error: BaseException) -> tuple[str, int | None]:
    """Return the file and line to look at: of a syntax error its own, else the last one inside the project."""
    if isinstance(error, SyntaxError) and error.filename:
        return _from_root(root, error.filename), error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    inside = [
        frame for frame in frames if Path(frame.filename).is_relative_to(root) and "site-packages" not in frame.filename
    ]
    if not inside:
        return "", None
    return _from_root(root, inside[-1].filename), inside[-1].lineno


def _from_root(root: Path, file: str) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _import_step(where: str, error: BaseException) -> str:
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        module = where.removeprefix("src/").removesuffix(".py").replace("/", ".")
        return f"Relative imports need a package: name the module, {module}:FLOW."
    if isinstance(error, ImportError) and error.name == "clary" and not isinstance(error, ModuleNotFoundError):
        if error.path == sys.modules["clary"].__file__:
            return _name_step(error)
        return "A file of your project is called clary.py, which hides Clary: rename it."
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("clary."):
        place = next((one for one in _MIGRATIONS if f"{error.name}.".startswith(f"{one}.")), "clary")
        page = _MIGRATIONS.get(place, "docs/reference/python.md")
        return f"Names are in {place} itself: from {place} import NAME; {page} has every one, and what has no place."
    if isinstance(error, ModuleNotFoundError):
        return f"Install {error.name} in the environment that runs clary, or correct the import."
    if isinstance(error, SystemExit):
        return 'The file ends the process when it is imported: put that under if __name__ == "__main__".'
    return "Mend that line; the file must be importable without side effects."


def _name_step(error: ImportError) -> str:
    """Return what to write for a name that ``clary`` does not have."""
    found = re.search(r"cannot import name '(\w+)'", str(error))
    name = found[1] if found else ""
    if hasattr(errors, name):
        return f"Write: from clary.errors import {name}."
    meant = nearest(name, sys.modules["clary"].__all__)
    return f"Did you mean “{meant}”?" if meant else "See the names that there are: docs/reference/python.md."
