"""What requirements files say (pip's format), as far as Clary must know: includes, digests, indexes, names."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images.packages.targets import holds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_INCLUDES = ("-r", "--requirement", "-c", "--constraint")
_INDEXES = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_HASH = re.compile(r"--hash[= ](\w+:[0-9a-f]+)")
_OPTIONS_BEHIND = re.compile(r"\s--\w.*$")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass
class Requirements:
    """A requirements file and all that it includes."""

    files: dict[Path, bytes] = field(default_factory=dict)
    """Every file that was read."""
    lines: list[str] = field(default_factory=list)
    """Requirements and options in order, continued lines joined, without comments and includes."""

    @property
    def names(self) -> set[str]:
        """The normalized names of what is required by name."""
        return {name for line in self.lines if (name := required_name(line))}

    @property
    def indexes(self) -> list[str]:
        """URLs and folders of indexes, in order; they may hold a name and a password."""
        return [value for line in self.lines for option, value in _options(line) if option in _INDEXES]

    @property
    def requires_digests(self) -> bool:
        """Whether every package must be listed with a digest."""
        return any(option == "--require-hashes" for line in self.lines for option, _ in _options(line))

    def digests(self, environment: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """Return the digests that are allowed, such as ``sha256:…``, by name, for what is required with digests.

        A package may stand in several lines, with markers; those count that hold in the environment.
        """
        found: dict[str, frozenset[str]] = {}
        for line in self.lines:
            name, digests = required_name(line), frozenset(_HASH.findall(line))
            if name and digests and _holds(line, environment):
                found[name] = found.get(name, frozenset()) | digests
        return found


def read(file: Path) -> Requirements:
    """Read a requirements file and what it includes by ``-r`` and ``-c``; URLs are left to uv.

    Raises ConfigError ``image.requirements_not_found``, ``image.bad_requirement``.
    """
    found = Requirements()
    _read(file, found, file)
    return found


def required_name(line: str) -> str | None:
    """Return the normalized name at the start of a requirement; None for options, paths and bare URLs."""
    name = _NAME.match(line)
    if name is None or line[name.end() : name.end() + 1] in ("/", ":", "+"):
        return None
    return normalized(name[0])


def normalized(name: str) -> str:
    """Return a package's name as indexes compare it. Source: PyPA specifications, name normalization."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _holds(line: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a requirement's marker holds; one that cannot be judged does."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        marker = Requirement(_OPTIONS_BEHIND.sub("", line)).marker
    except InvalidRequirement:
        return True
    return holds(marker, environment, doubtful=True)


def _read(file: Path, found: Requirements, top: Path) -> None:
    if file.resolve() in found.files:
        return
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        included = "" if file == top else f", which {top.name} includes,"
        raise ConfigError(
            "image.requirements_not_found",
            f"{file.name}{included} cannot be read: {error.strerror}.",
            next_step=f"Check the path {file}.",
            field="image.requirements",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "image.bad_requirement",
            f"{file.name} is not text in UTF-8.",
            next_step="Save it as UTF-8; a redirection in PowerShell writes UTF-16.",
            field="image.requirements",
        ) from None
    found.files[file.resolve()] = data
    for line in _logical_lines(text):
        included_file = _included(line)
        if included_file is None:
            found.lines.append(line)
        elif "://" not in included_file:
            _read(file.parent / included_file, found, top)


def _logical_lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        if stripped := _COMMENT.sub("", line).strip():
            yield stripped


def _included(line: str) -> str | None:
    return next((value for option, value in _options(line) if option in _INCLUDES), None)


def _options(line: str) -> list[tuple[str, str]]:
    """Return the option that a line is, with its value; nothing for a requirement."""
    if not line.startswith("-"):
        return []
    short = re.match(r"(-[a-z])\s*([^\s=-].*)", line)
    if short is not None:
        return [(short[1], _unquoted(short[2]))]
    option, _, value = line.replace("=", " ", 1).partition(" ")
    return [(option, _unquoted(value))]


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value.strip()
    return words[0] if words else ""
