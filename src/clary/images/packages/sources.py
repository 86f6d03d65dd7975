"""Where a project says which packages it needs: found without being told, or as it was said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, nearest
from clary.images.packages import projects, requirement_files
from clary.images.packages.documents import FIELD, pyproject, script_header, strings, table, toml
from clary.images.packages.requirement_files import normalized, required_name
from clary.images.packages.secrecy import scrubbed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.image import Image

OWN = "clary"
"""This package: jobs get it from the runtime channel, ahead of everything that an image holds."""

_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
"""Source: PEP 751, "File name"."""
_OTHERS = {
    "Pipfile": "pipenv requirements > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "poetry.lock": "poetry export -o requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
    "setup.py": "uv pip compile setup.py -o requirements.txt",
    "setup.cfg": "uv pip compile setup.cfg -o requirements.txt",
    "environment.yml": "pip freeze > requirements.txt",
    "environment.yaml": "pip freeze > requirements.txt",
}
"""Files that other tools know, and how each makes one that Clary knows."""
_OPTION_PLACES = {
    ("-r", "--requirement"): 'Name the file itself: requirements = "requirements.txt".',
    ("-c", "--constraint"): "Put it into a requirements file, and name that file.",
    ("-e", "--editable"): "Write the path alone, such as ./libs/mine; images hold no editable packages.",
    (
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "--no-index",
        "--trusted-host",
    ): "Name indexes to uv: [[tool.uv.index]] in pyproject.toml, or UV_DEFAULT_INDEX, UV_INDEX, UV_FIND_LINKS.",
    ("--pre",): "Allow pre-releases in the requirement (such as ==2.0rc1), or set UV_PRERELEASE=allow.",
    ("--hash", "--require-hashes"): "Digests stand in a requirements file, or in a uv.lock or pylock.toml.",
}


_UNKNOWN = {"extra": "image.unknown_extra", "group": "image.unknown_group"}


class Kind(StrEnum):
    """The forms in which requirements are written."""

    LIST = "list"
    REQUIREMENTS = "requirements.txt"
    PYPROJECT = "pyproject.toml"
    UV_LOCK = "uv.lock"
    PYLOCK = "pylock.toml"
    SCRIPT = "script"


@dataclass(frozen=True)
class Source:
    """What says which packages are needed."""

    kind: Kind
    project: Path
    """The folder whose code travels: its own package is not installed."""
    file: Path | None = None
    """None for a list."""
    listed: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where relative paths in it are meant from, and where uv looks for its settings."""
        if self.kind in (Kind.LIST, Kind.REQUIREMENTS) or self.file is None:
            return self.project
        return self.file.parent

    def __str__(self) -> str:
        if self.file is None:
            return "the list of requirements"
        inside = self.file.is_relative_to(self.project)
        return self.file.relative_to(self.project).as_posix() if inside else self.file.name

    def asked(self) -> list[str]:
        """Return the requirements that a project's or a script's own text names, extras and groups included."""
        assert self.file is not None
        if self.kind is Kind.SCRIPT:
            return strings(script_header(self.file).get("dependencies"))
        return projects.required(toml(self.file), self.extras, self.groups)

    def mentions_own(self) -> bool:
        """Tell whether Clary itself is asked for."""
        if self.kind is Kind.LIST:
            return OWN in {required_name(one) for one in self.listed}
        assert self.file is not None
        if self.kind is Kind.REQUIREMENTS:
            return OWN in requirement_files.read(self.file).names
        if self.kind in (Kind.UV_LOCK, Kind.PYLOCK):
            return f'name = "{OWN}"' in self.file.read_text(encoding="utf-8")
        return OWN in {required_name(one) for one in self.asked()}


def find(project: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()) -> Source | None:
    """Return what a plain project requires without being told where; None when it requires nothing.

    The order is ``uv.lock`` (with its ``pyproject.toml``; a workspace's too), ``pylock.toml``, ``requirements.txt``,
    ``pyproject.toml``. Raises ConfigError ``image.unknown_extra``, ``image.unknown_group``, ``image.bad_toml``;
    ``image.unknown_requirements`` for a project of Poetry or Pipenv, which would get nothing.
    """
    locked = _uv_lock(project)
    for file in (locked, project / "pylock.toml", project / "requirements.txt"):
        if file is not None and file.is_file():
            return _of_file(file, project, tuple(extras), tuple(groups))
    own = project / "pyproject.toml"
    if (extras or groups) and not own.is_file():
        raise _unusable("a project without a pyproject.toml", "Take extras and groups out, or write one that has them.")
    document = pyproject(project)
    if not (extras or groups or _requires(document)):
        _refuse_others(project, document)
        return None
    return _of_file(own, project, tuple(extras), tuple(groups))


def of_image(image: Image, project: Path) -> Source | None:
    """Return where an image's packages are said; None for none. Raises what ``read`` raises."""
    said = image.requirements
    listed = said if said is None or isinstance(said, str) else list(said)
    return read(listed, project, extras=image.extras, groups=image.groups)


def read(
    said: str | Sequence[str] | None, project: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Source | None:
    """Return what was said of the requirements: a list, or a file below ``project``; None for none.

    ``said`` None finds them (``find``). Raises ConfigError ``image.requirements_not_found``,
    ``image.unknown_requirements``, ``image.bad_requirement``, ``image.pip_option``, ``image.extras_unusable``, and what
    ``find`` raises.
    """
    if said is None:
        return find(project, extras=extras, groups=groups)
    if isinstance(said, str):
        return _of_file(_existing(said, project), project, tuple(extras), tuple(groups))
    if extras or groups:
        raise _unusable("a list of requirements")
    for one in said:
        check(one)
    return Source(Kind.LIST, project, listed=tuple(one.strip() for one in said)) if said else None


def project_file(source: Source) -> Path:
    """Return the ``pyproject.toml`` that a source is of: beside its file, but of a workspace's lock the project's own.

    Raises ConfigError ``image.requirements_not_found`` for a lock that has none.
    """
    of_workspace = source.project.is_relative_to(source.folder)
    for folder in (source.project, source.folder) if of_workspace else (source.folder,):
        if (folder / "pyproject.toml").is_file():
            return folder / "pyproject.toml"
    raise ConfigError(
        "image.requirements_not_found",
        f"{source} has no pyproject.toml beside it, without which uv cannot read it.",
        next_step="Put it there, or export the lock: `uv export --format pylock.toml -o pylock.toml`.",
        field=FIELD,
    )


def _of_file(file: Path, project: Path, extras: tuple[str, ...], groups: tuple[str, ...]) -> Source:
    source = Source(_kind(file), project, file, extras=extras, groups=groups)
    if source.kind in (Kind.PYPROJECT, Kind.UV_LOCK):
        _check_choices(source)
        _check_project(source)
    elif source.kind is not Kind.PYLOCK and (extras or groups):
        raise _unusable(str(source))
    return source


def _kind(file: Path) -> Kind:
    if file.name in (Kind.UV_LOCK, Kind.PYPROJECT):
        return Kind(file.name)
    if _PYLOCK.fullmatch(file.name):
        return Kind.PYLOCK
    if file.suffix in (".txt", ".in"):
        return Kind.REQUIREMENTS
    if file.suffix == ".py" and script_header(file):
        return Kind.SCRIPT
    way = _OTHERS.get(file.name)
    raise ConfigError(
        "image.unknown_requirements",
        f"Requirements cannot be read from {file.name}.",
        next_step=f"Make a file that is known, for example by `{way}`."
        if way
        else "Name a requirements.txt, a pyproject.toml, a uv.lock, a pylock.toml or a script with a PEP 723 header.",
        field=FIELD,
    )


def _refuse_others(project: Path, document: Mapping[str, Any]) -> None:
    poetry = table(document, "tool", "poetry", "dependencies").keys() - {"python"}
    name = "poetry.lock" if poetry else "Pipfile" if (project / "Pipfile").is_file() else None
    if name is not None:
        where = "[tool.poetry]" if poetry else name
        raise ConfigError(
            "image.unknown_requirements",
            f"The project keeps its requirements where Clary does not read them ({where}).",
            next_step=f"Make a file that is known, for example by `{_OTHERS[name]}`; requirements = [] is for none.",
            field=FIELD,
        )


def _uv_lock(project: Path) -> Path | None:
    """Return the project's lock: its own, or that of the workspace it is a member of."""
    if not (project / "pyproject.toml").is_file():
        return None
    for folder in (project, *project.parents):
        lock, pyproject = folder / "uv.lock", folder / "pyproject.toml"
        if lock.is_file() and pyproject.is_file() and (folder == project or _has_member(folder, pyproject, project)):
            return lock
    return None


def _has_member(root: Path, pyproject: Path, project: Path) -> bool:
    workspace = table(toml(pyproject), "tool", "uv", "workspace")
    place = project.relative_to(root)
    left_out = any(place.match(pattern) for pattern in strings(workspace.get("exclude")))
    return not left_out and any(place.match(pattern) for pattern in strings(workspace.get("members")))


def _existing(said: str, project: Path) -> Path:
    file = (project / said).absolute()
    if file.is_file():
        return file
    if file.is_dir() or re.search(r"[=<>\[~!;]", said):
        next_step = f'A file is meant here. Requirements themselves go into a list: ["{said}"].'
    else:
        near = nearest(file.name, _names(file.parent))
        next_step = f"Did you mean {near!r}?" if near else f'Check the path, or write a list: ["{said}"].'
    raise ConfigError(
        "image.requirements_not_found",
        f"There is no requirements file {said!r} in {project.name or project}.",
        next_step=next_step,
        field=FIELD,
    )


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def check(one: str) -> None:
    """Refuse what is no requirement; uv judges the rest.

    Raises ConfigError ``image.bad_requirement``, ``image.pip_option``.
    """
    text = one.strip()
    if text.startswith("-"):
        raise _option(text)
    name = required_name(text)
    if name is None:
        if re.match(r"\.{0,2}/|git\+|https?:|file:", text):
            return
    else:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
        else:
            return
    raise ConfigError(
        "image.bad_requirement",
        f"{scrubbed(one)!r} is not a requirement{'' if name is None else f': {scrubbed(reason)}'}.",
        next_step="Write a name with a version, such as numpy>=2.1, a path such as ./libs/mine, or a git+https URL.",
        field=FIELD,
    )


def _option(text: str) -> ConfigError:
    option = re.split(r"[\s=]", text, maxsplit=1)[0]
    places = (place for options, place in _OPTION_PLACES.items() if option in options)
    return ConfigError(
        "image.pip_option",
        f"A list of requirements takes no options of pip: {option}.",
        next_step=next(
            places, 'Put it into a requirements file, and name that file: requirements = "requirements.txt".'
        ),
        field=FIELD,
    )


def _unusable(
    where: str, next_step: str = 'Take extras and groups out, or name requirements = "pyproject.toml".'
) -> ConfigError:
    return ConfigError(
        "image.extras_unusable",
        f"Extras and groups are a project's; {where} has none.",
        next_step=next_step,
        field="image.extras",
    )


def _check_choices(source: Source) -> None:
    """Refuse extras and groups that the project does not have."""
    document = toml(project_file(source))
    if not projects.is_dynamic(document, "optional-dependencies"):
        check_known("extra", source.extras, table(document, "project", "optional-dependencies"))
    check_known("group", source.groups, projects.group_names(document))


def _check_project(source: Source) -> None:
    assert source.file is not None
    if source.kind is Kind.PYPROJECT and not source.groups and not table(toml(source.file), "project"):
        raise ConfigError(
            "image.unknown_requirements",
            f"{source} has no [project] that says what it requires.",
            next_step="Write one with dependencies, name groups, or name another file.",
            field=FIELD,
        )


def check_known(what: str, asked: Iterable[str], known: Iterable[str], *, of: str = "project") -> None:
    """Refuse extras or groups (``what``) that the project or lock does not have.

    Raises ConfigError ``image.unknown_extra``, ``image.unknown_group``.
    """
    names = {normalized(name): name for name in known}
    for one in asked:
        if normalized(one) not in names:
            near = nearest(one, names)
            offered = ", ".join(sorted(names.values()))
            raise ConfigError(
                _UNKNOWN[what],
                f"The {of} has no {what} {one!r}.",
                next_step=f"Did you mean {near!r}?" if near else f"It has: {offered or 'none'}.",
                field=f"image.{what}s",
            )


def _requires(document: Mapping[str, Any]) -> bool:
    project = table(document, "project")
    return bool(project.get("dependencies")) or projects.is_dynamic(document, "dependencies")
