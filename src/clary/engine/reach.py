"""What code a function reaches: its own, that of the project's functions and classes it names, and theirs in turn.

Everything is taken from what is loaded, never from files, which may have been edited since. The Python minor version is
part of whatever uses this: compiled code means nothing without it.

Followed are names in the code (globals, closures, ``module.name``, imports inside the body), defaults, decorators,
bases, and functions and the classes of objects in plain containers. Not followed: what is found by a computed name
(``getattr``, ``importlib``), methods of objects whose class no name leads to, and compiled extensions. Packages count
by their version.
"""

from __future__ import annotations

import dis
import enum
import functools
import importlib
import importlib.util
import re
import sys
import sysconfig
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.artifacts import digest
from clary.engine import held
from clary.engine.source import code_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OWN = Path(__file__).resolve().parents[1]
_STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_DECLARED = ("__annotations__", "__slots__", "__pydantic_fields__")
"""Names with underscores whose value, as text, is part of what a class does."""
_SCALARS = (bool, int, float, complex, str, bytes, type(None))
_ABSENT: Any = object()


@dataclass
class Reach:
    """What a function reaches."""

    code: dict[str, str] = field(default_factory=dict)
    """Digests of functions and classes, by ``module:name``."""
    packages: dict[str, str] = field(default_factory=dict)
    """Versions of the installed packages that the code names."""
    read: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """Reads the plain values outside the code that it reads."""

    def constants(self) -> dict[str, str]:
        """Return the digests of those values as they are now."""
        found = {label: _mark_of(read()) for label, read in self.read.items()}
        return {label: mark for label, mark in found.items() if mark is not None}


def reach_of(start: Any) -> Reach:
    """Return what a function reaches, or a class that is the project's."""
    return _Walk(start).run()


class _Walk:
    """One walk over the code that a function or class names."""

    def __init__(self, start: Any) -> None:
        self.found = Reach()
        self._top = "" if isinstance(start, type) else str(getattr(start, "__module__", "")).partition(".")[0]
        """The package that a function is in is the project's, wherever it lies; of a class that has to be seen."""
        self._seen: dict[int, Any] = {}
        """By identity; the objects are held so that no identity is given twice."""
        self._modules: set[tuple[str, frozenset[str]]] = set()
        self._waiting: list[tuple[str, Any]] = []
        self._follow(getattr(start, "__name__", "?"), start)

    def run(self) -> Reach:
        while self._waiting:
            label, thing = self._waiting.pop()
            if isinstance(thing, types.FunctionType):
                self._function(label, thing)
            else:
                self._class(label, thing)
        return self.found

    def _follow(self, label: str, thing: Any, read: Callable[[], Any] | None = None) -> None:
        """Take in what a name stands for; ``read`` reads it again, for values that may change."""
        if isinstance(thing, _SCALARS):
            self._constant(label, thing, read)
        elif id(thing) not in self._seen:
            self._seen[id(thing)] = thing
            if isinstance(thing, types.ModuleType):
                self._package(thing.__name__)
            elif not isinstance(thing, (types.FunctionType, type)):
                self._object(label, thing, read)
            elif self._is_ours(thing):
                self._waiting.append((_name_of(thing), thing))

    def _object(self, label: str, thing: Any, read: Callable[[], Any] | None) -> None:
        self._each(label, held.code_in(thing) if held.is_container(thing) else held.behind(thing))
        self._follow(label, type(thing))
        module = getattr(thing, "__module__", None)
        if isinstance(module, str) and not self._is_project(module):
            self._package(module)
        if isinstance(thing, re.Pattern):
            self._constant(label, (thing.pattern, thing.flags), None)
        elif not callable(thing):
            self._constant(label, thing, read)

    def _each(self, label: str, parts: Iterable[Any]) -> None:
        for number, part in enumerate(parts):
            self._follow(f"{label}[{number}]", part)

    def _constant(self, label: str, value: Any, read: Callable[[], Any] | None) -> None:
        self.found.read[label] = read or (lambda: value)

    def _function(self, label: str, function: types.FunctionType) -> None:
        label = self._free(label)
        self.found.code[label] = code_digest(function.__code__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            read = functools.partial(_in_cell, cell)
            if (value := read()) is not _ABSENT:
                self._follow(f"{label}:{name}", value, read)
        defaults = {str(number): value for number, value in enumerate(function.__defaults__ or ())}
        for name, value in {**defaults, **(function.__kwdefaults__ or {})}.items():
            self._follow(f"{label}:default {name}", value)
        self._each(label, held.behind(function))
        for code in _all_code(function.__code__):
            self._names(code, function.__globals__)

    def _class(self, label: str, kind: type) -> None:
        label = self._free(label)
        shown = [base.__qualname__ for base in kind.__mro__]
        for base in (*kind.__bases__, type(kind)):
            self._follow(label, base)
        for name, value in sorted(vars(kind).items()):
            if isinstance(value, enum.Enum) and type(value) is kind:
                self._follow(f"{label}.{name}", value.value)
            elif name in _DECLARED:
                shown.append(f"{name} {_ADDRESS.sub('', repr(value))}")
            elif name == "__dataclass_fields__":
                for one in value.values():
                    self._follow(f"{label}.{one.name}", one.default_factory)
            elif not name.startswith("__") or held.behind(value) or isinstance(value, types.FunctionType):
                shown.append(name)
                self._follow(f"{label}.{name}", value)
        self.found.code[label] = digest(shown) or ""

    def _names(self, code: types.CodeType, names: dict[str, Any]) -> None:
        """Take in what the names in one piece of code stand for."""
        attributes = frozenset(code.co_names)
        before: list[Any] = []
        for instruction in dis.get_instructions(code):
            if instruction.opname == "EXTENDED_ARG":
                continue
            if instruction.opname == "IMPORT_NAME":
                self._import(before[-2], before[-1], instruction.argval, names, attributes)
            elif instruction.opname in _GLOBALS and instruction.argval in names:
                self._named(names, instruction.argval, attributes)
            before = [*before[-1:], instruction.argval]

    def _named(self, names: dict[str, Any], name: str, attributes: frozenset[str]) -> None:
        value = names[name]
        if isinstance(value, types.ModuleType) and self._is_project(value.__name__):
            self._module(value, attributes)
        else:
            label = f"{_module_name(names.get('__name__', '?'))}:{name}"
            self._follow(label, value, functools.partial(names.get, name))

    def _module(self, module: types.ModuleType, attributes: frozenset[str]) -> None:
        """Take in what the code uses of a module of the project; all of it where no name tells."""
        if (module.__name__, attributes) in self._modules:
            return
        self._modules.add((module.__name__, attributes))
        names = vars(module)
        used = sorted(attributes & names.keys()) or [name for name in names if not name.startswith("__")]
        for name in used:
            self._named(names, name, attributes)

    def _import(self, level: Any, wanted: Any, name: str, names: dict[str, Any], attributes: frozenset[str]) -> None:
        """Take in what an import in a body brings; only modules of the project are imported for that."""
        try:
            full = importlib.util.resolve_name("." * level + name, names.get("__package__")) if level else name
            top = importlib.util.find_spec(full.partition(".")[0])
            if top is None or not (_is_project_file(_origin(top)) or full.partition(".")[0] == self._top):
                self._package(full)
                return
            module = importlib.import_module(full)
            for one in wanted or ():
                if one != "*" and not hasattr(module, one):
                    importlib.import_module(f"{full}.{one}")
        except Exception:  # noqa: BLE001 - whatever the import does, the body will meet it when it runs
            return
        for one in wanted or ():
            if hasattr(module, one):
                self._named(vars(module), one, attributes)
        if not wanted:
            self._module(module, attributes)

    def _is_ours(self, thing: Any) -> bool:
        """Tell whether a function or class is the project's; note the package that it is of otherwise."""
        module = getattr(thing, "__module__", None) or ""
        globals_ = getattr(thing, "__globals__", {})
        if self._is_project(module) or (module not in sys.modules and _is_project_file(globals_.get("__file__"))):
            return True
        self._package(module)
        return False

    def _is_project(self, module: str) -> bool:
        if module.partition(".")[0] == self._top:
            return True
        there = sys.modules.get(module)
        if there is None:
            return False
        file = _file_of(there)
        return _is_project_file(file) or (file is None and module == "__main__")  # what a person types has no file

    def _package(self, module: str) -> None:
        top = module.partition(".")[0]
        if top not in self.found.packages and top not in sys.stdlib_module_names and top not in ("", "clary"):
            self.found.packages[top] = _version(top)

    def _free(self, label: str) -> str:
        """Return a label that is not taken: several functions may go by one name."""
        number, free = 1, label
        while free in self.found.code:
            number += 1
            free = f"{label} ({number})"
        return free


def _mark_of(value: Any) -> str | None:
    """Return the digest of a value; of a container that has none, that of its form."""
    mark = digest(value)
    return digest(held.form_of(value)) if mark is None and held.has_form(value) else mark


def _all_code(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_code(constant)


def _in_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _ABSENT


def _name_of(thing: Any) -> str:
    return f"{_module_name(thing.__module__)}:{thing.__qualname__}"


def _module_name(name: str) -> str:
    """Return the module's name; of what runs as a script the one that it has in a job, that of its file."""
    main = sys.modules.get("__main__")
    if name != "__main__" or main is None:
        return name
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else Path(getattr(main, "__file__", None) or name).stem


def _origin(spec: Any) -> str | None:
    """Return a file of what an import would find; None for what is built in."""
    if spec.has_location:
        return str(spec.origin)
    return next((f"{folder}/__init__.py" for folder in spec.submodule_search_locations or ()), None)


def _file_of(module: types.ModuleType) -> str | None:
    """Return a file of the module, one that need not be there for a folder without ``__init__.py``."""
    return _origin(module.__spec__) if module.__spec__ is not None else getattr(module, "__file__", None)


@functools.cache
def _is_project_file(file: str | None) -> bool:
    """Tell whether a module's file is the project's: of no installed package, nor of Python or Clary itself."""
    if file is None:
        return False
    path = Path(file).resolve()
    if _INSTALLED & set(path.parts) or path.suffix in (".so", ".pyd"):
        return False
    return not any(folder in path.parents for folder in (*_STANDARD, _OWN))


def _version(package: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", ""))
