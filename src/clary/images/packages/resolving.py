"""Resolving by uv: for a target's Python and platform, neither of which need be on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images.packages import documents, local_projects, sources, targets, uv_failures, uv_locks, uv_words
from clary.images.packages.secrecy import masked
from clary.images.packages.sources import OWN, Kind, Source

if TYPE_CHECKING:
    from clary.images.building import Python

UMASK = 0o022
"""Of the programs that lay files which get into wheels: their modes are the same on every machine."""
_UNBUILT = re.compile(r"(?:Wheels are required for|Building source distributions for) `([^`]+)`")
_BUILDS_OFF = "Building source distributions is disabled"
"""What uv says where only the project's backend can tell what it requires."""
_WORK = "clary-resolve-"
_MADE_FILE = re.compile(rf"[^\s`'\"]*{_WORK}\w+/(?:requirements\.txt|pyproject\.toml)")
_NO = frozenset({"", "0", "f", "false", "n", "no", "off"})
"""Source: clap, which uv reads its variables with, "BoolishValueParser"."""
_SDIST_ONLY = re.compile(r'(?m)^name = "([^"]+)"\n(?:version = .*\n)?(?:index = .*\n)?sdist = .*\n(?!wheels)')


@dataclass(frozen=True)
class Resolved:
    """What uv made of a source."""

    text: bytes
    """A pylock.toml, as uv wrote it: it may hold paths, which are meant from ``folder``."""
    folder: Path
    notes: tuple[str, ...] = field(default=())


def resolve(
    source: Source,
    python: Python,
    *,
    torch: str | None,
    environment: Mapping[str, str],
    upgrade: bool,
    provided: Sequence[str] = (),
) -> Resolved:
    """Resolve a source for a target; packages that are ``provided`` are left out, and what only they need.

    Raises ConfigError, NotFoundError, PermissionDeniedError, as ``uv_failures.told`` says; ConfigError
    ``image.python_mismatch`` for a script's ``requires-python``, ``image.lock_outdated`` for a uv.lock.
    """
    if source.kind is Kind.PYLOCK:
        assert source.file is not None
        return Resolved(source.file.read_bytes(), source.folder)
    if source.kind is Kind.UV_LOCK:
        uv_locks.check(source, python, environment)
        text, notes = _exported(source, python, environment, provided)
        if torch is not None:
            notes = (*notes, f"torch={torch!r} does not count: {source} names the builds of PyTorch.")
        return Resolved(text, source.folder, notes)
    if source.kind in (Kind.PYPROJECT, Kind.SCRIPT):
        for one in source.asked():
            sources.check(one)
    with tempfile.TemporaryDirectory(prefix=_WORK) as work:
        folder, wanted = source.folder, _wanted(source, python, Path(work))
        if source.kind is Kind.SCRIPT:
            folder = Path(work)
        excluded = Path(work) / "excluded.txt"
        excluded.write_text("".join(f"{name}\n" for name in (OWN, *provided)), encoding="utf-8")
        options = [*_target_options(python), "--excludes", str(excluded)]
        options += ["--torch-backend", torch] if torch else []
        offline = environment.get("UV_OFFLINE", "").lower() not in _NO
        if not offline:
            options += ["--refresh"] if upgrade else local_projects.refreshing(source)
        text, notes = _compiled([*options, *wanted], folder, source, python, environment)
    if upgrade and offline:
        notes = (*notes, "UV_OFFLINE is set: no index was asked for newer versions.")
    return Resolved(text, folder, notes)


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run uv in a folder; it downloads no Python and shows no progress. What it says names no secrets.

    Files that it unpacks and builds get the same modes whoever runs it.
    """
    from uv import find_uv_bin

    settings = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    command = [find_uv_bin(), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        umask=UMASK,
    )
    done.stderr = masked(done.stderr, environment)
    return done


def _compiled(
    arguments: list[str], folder: Path, source: Source, python: Python, environment: Mapping[str, str]
) -> tuple[bytes, tuple[str, ...]]:
    """Resolve to wheels where that can be; only for what has none anywhere, to sources. Return uv's warnings, too."""

    def attempt(only_binary: Sequence[str]) -> subprocess.CompletedProcess[str]:
        restricted = [part for name in only_binary for part in ("--only-binary", name)]
        done = run(["pip", "compile", *restricted, *arguments], folder, environment)
        done.stderr = _MADE_FILE.sub(str(source), done.stderr)
        uv_words.check_settings(done.stderr)
        return done

    done = attempt([":all:"])
    unbuilt = set(_UNBUILT.findall(done.stderr))
    if done.returncode and (unbuilt or _BUILDS_OFF in done.stderr):
        done = attempt([])
        # The newest version may have a source only, where an older one has a wheel.
        avoidable = sorted(set(_SDIST_ONLY.findall(done.stdout)) - unbuilt)
        if done.returncode == 0 and avoidable:
            better = attempt(avoidable)
            done = better if better.returncode == 0 else done
    if done.returncode:
        raise uv_failures.told(done.stderr, source, python)
    return done.stdout.encode(), uv_words.notes(done.stderr)


def _exported(
    source: Source, python: Python, environment: Mapping[str, str], provided: Sequence[str]
) -> tuple[bytes, tuple[str, ...]]:
    file = sources.project_file(source)
    own = documents.table(documents.toml(file), "project").get("name")
    options = ["--frozen", "--no-emit-project", "--no-default-groups", "--python", sys.executable]
    options += [part for name in (OWN, *provided) if name != own for part in ("--prune", name)]
    options += ["--package", str(own)] if file.parent != source.folder and own else []
    options += _choices(source, "")
    # uv does not take these with --frozen; a lock is what it is.
    taken = {name: value for name, value in environment.items() if name not in uv_locks.NO_SOURCES}
    done = run(["export", "--format", "pylock.toml", "--no-header", *options], source.folder, taken)
    uv_words.check_settings(done.stderr)
    if done.returncode:
        raise uv_locks.outgrown(done.stderr, source) or uv_failures.told(done.stderr, source, python)
    return done.stdout.encode(), uv_words.notes(done.stderr)


def _target_options(python: Python) -> list[str]:
    """Return uv's options for the target. The interpreter named is the one that builds metadata, where it has to."""
    return [
        *("--format", "pylock.toml", "--no-header", "--python", sys.executable),
        *("--python-version", python.version, "--python-platform", targets.uv_platform(python)),
    ]


def _choices(source: Source, file: str) -> list[str]:
    options = [part for extra in source.extras for part in ("--extra", extra)]
    return options + [part for group in source.groups for part in ("--group", f"{file}{group}")]


def _wanted(source: Source, python: Python, work: Path) -> list[str]:
    """Return uv's arguments that name what is wanted."""
    if source.kind is Kind.LIST:
        listed = work / "requirements.txt"
        listed.write_text("".join(f"{one}\n" for one in source.listed), encoding="utf-8")
        return [str(listed)]
    assert source.file is not None
    if source.kind is Kind.SCRIPT:
        made = work / "pyproject.toml"
        made.write_text(_script_project(source.file, python), encoding="utf-8")
        return [str(made)]
    if source.kind is not Kind.PYPROJECT:
        return [str(source.file)]
    has_project = bool(documents.table(documents.toml(source.file), "project"))
    return [*([str(source.file)] if has_project else ()), *_choices(source, f"{source.file}:")]


def _script_project(file: Path, python: Python) -> str:
    """Return a script's header as a pyproject.toml: ``uv pip compile`` leaves the header's [tool.uv] out of account."""
    header = documents.script_header(file)
    check_python(header.get("requires-python"), python, file.name)
    project = {"name": "script", "version": "0", "dependencies": documents.strings(header.get("dependencies"))}
    uv = _absolute(documents.table(header, "tool", "uv"), file.parent)
    return "".join(f"{name} = {_value(value)}\n" for name, value in (("project", project), ("tool", {"uv": uv})))


def check_python(required: str | None, python: Python, name: str) -> None:
    """Refuse a base whose Python a project or script does not allow. Raises ConfigError ``image.python_mismatch``."""
    from packaging.specifiers import InvalidSpecifier

    try:
        is_allowed = targets.is_allowed(python, required)
    except InvalidSpecifier:
        raise ConfigError(
            "image.bad_toml",
            f"The requires-python of {name} cannot be read: {required!r}.",
            next_step='Write it like ">=3.11".',
            field="image.requirements",
        ) from None
    if not is_allowed:
        raise ConfigError(
            "image.python_mismatch",
            f"{name} requires Python {required}, and the image has {python.version}.",
            next_step=f"Set python in the image or choose another base, or change requires-python in {name}.",
            field="image.python",
        )


def _absolute(uv: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a script's settings of uv with the paths of its sources written out."""
    made = dict(uv)
    if isinstance(uv.get("sources"), dict):
        made["sources"] = {name: _absolute_source(one, folder) for name, one in uv["sources"].items()}
    return made


def _absolute_source(source: Any, folder: Path) -> Any:
    if isinstance(source, list):
        return [_absolute_source(one, folder) for one in source]
    return {**source, "path": str(folder / source["path"])} if "path" in source else source


def _value(value: Any) -> str:
    """Return a value as TOML, tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(name))} = {_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    return str(value)  # a date or a time
