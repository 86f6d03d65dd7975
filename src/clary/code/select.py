"""Which files of a project travel with a run.

Where git is there it decides: what it tracks, and what is new and not ignored. Elsewhere the tree is walked. In both,
``.claryignore`` takes out more, and files that hold secrets, version control, environments and caches never travel
(a ``!pattern`` in ``.claryignore`` is the one way to send such a file on purpose).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clary.code.patterns import Patterns
from clary.errors import UsageError, ValidationError
from clary.files import size_text

IGNORE_FILE = ".claryignore"
SIZE_LIMIT = 250 * 1024**2
"""Bytes of source that may travel: code is meant here, data have channels of their own."""
_NAMED = 5
"""How many of the biggest files an error names."""

_PRIVATE_NAMES = (
    ".env .env.* !.env.example !.env.sample !.env.template *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk "
    "id_rsa id_dsa id_ecdsa id_ed25519 .netrc _netrc .pypirc .git-credentials .pgpass .htpasswd "
    ".aws/ .ssh/ .gnupg/ .kube/ .docker/"
)
"""Files that hold secrets, by name."""
_CLUTTER_NAMES = (
    ".git .hg .svn .bzr .venv/ venv/ virtualenv/ __pycache__/ *.pyc *.pyo .mypy_cache/ .ruff_cache/ .pytest_cache/ "
    ".hypothesis/ .tox/ .nox/ .eggs/ *.egg-info/ node_modules/ .ipynb_checkpoints/ .clary/ .idea/ .vscode/ "
    ".DS_Store .coverage"
)
"""Version control, environments, caches: nothing a job could use."""
_PRIVATE = Patterns(_PRIVATE_NAMES.split())
_CLUTTER = Patterns(_CLUTTER_NAMES.split())


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file (or symbolic link inside the tree) that travels."""

    path: str
    """Relative to the root, with ``/``."""
    size: int
    executable: bool
    link: str | None
    """The target of a symbolic link, relative to the link's folder; None for a file."""
    stamp: tuple[int, int, int]
    """Modification time, change time (nanoseconds) and inode: a file whose stamp and size stay is unchanged."""


@dataclass(frozen=True)
class Selection:
    """The files of a project that travel."""

    root: Path
    files: tuple[SourceFile, ...]
    """In the order of their paths."""
    withheld: tuple[str, ...]
    """Paths left out because they hold secrets by their name."""

    @property
    def size(self) -> int:
        """Bytes of all the files."""
        return sum(file.size for file in self.files)


def select(root: Path, *, limit: int = SIZE_LIMIT, below: str = "") -> Selection:
    """Return the files under ``root`` that travel.

    Args:
        root: the project's folder.
        limit: most bytes that may travel.
        below: the one folder of it that is asked for, relative; it travels even where it is left out as a whole, for
            it was named, and an ignore file of its own counts, too.

    Raises UsageError (``code.link_outside`` for a symbolic link that leaves the tree, ``code.unreadable``),
    ValidationError (``code.too_large``) when the files have more than ``limit`` bytes, naming the biggest.
    """
    root = root.resolve()
    rules = _Rules(root, below)
    listed = _from_git(root / below)
    inside = None if listed is None else (f"{below}/{path}".lstrip("/") for path in listed)
    paths = _walk(root, rules, below) if inside is None else _without_excluded(inside, rules)
    files = [file for path in sorted(set(paths)) if (file := _source_file(root, path)) is not None]
    _check_size(files, limit)
    return Selection(root, tuple(files), tuple(sorted(rules.withheld)))


def is_private(path: str, *, folder: bool) -> bool:
    """Tell whether a path (relative, with ``/``) holds secrets, by its name."""
    return bool(_PRIVATE.verdict(path, folder=folder))


class _Rules:
    """What is left out, whoever lists the files."""

    def __init__(self, root: Path, top: str) -> None:
        self.top = top
        """The folder that is asked for."""
        self._own = Patterns(_lines(root / IGNORE_FILE))
        self._inner = Patterns(_lines(root / top / IGNORE_FILE) if top else ())
        self._folders: dict[str, bool] = {top: False}
        self.withheld: set[str] = set()

    def excluded(self, path: str, *, folder: bool) -> bool:
        """Tell whether a path whose folder is not excluded is left out itself."""
        said = self._inner.verdict(path.removeprefix(f"{self.top}/"), folder=folder)
        if said is None:
            said = self._own.verdict(path, folder=folder)
        if said is not None:
            return said
        if is_private(path, folder=folder):
            self.withheld.add(path)
            return True
        return bool(_CLUTTER.verdict(path, folder=folder))

    def folder_excluded(self, path: str) -> bool:
        """Tell whether a folder, or one above it, is left out."""
        known = self._folders.get(path)
        if known is None:
            parent = path.rpartition("/")[0]
            known = self._folders[path] = self.folder_excluded(parent) or self.excluded(path, folder=True)
        return known


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(IGNORE_FILE, error) from error


def _from_git(root: Path) -> list[str] | None:
    """Return the paths git names under ``root``, or None where git or a repository is missing."""
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return None
    command = [git, "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode != 0:  # a repository of somebody else, or a broken one: the tree itself is walked
        return None
    paths = [os.fsdecode(path).rstrip("/") for path in listed.stdout.split(b"\0") if path]
    if not paths and _ignored(git, root):
        return None
    return [inner for path in paths for inner in _with_submodule(root, path)]


def _ignored(git: str, root: Path) -> bool:
    """Tell whether the project itself is ignored by the repository around it, so that git names nothing of it."""
    return subprocess.run([git, "-C", str(root), "check-ignore", "-q", "."], check=False).returncode == 0


def _with_submodule(root: Path, path: str) -> Iterator[str]:
    """Yield the path; for the folder of a repository inside this one, what that repository names."""
    try:
        inner = stat.S_ISDIR(os.lstat(f"{root}/{path}").st_mode)
    except OSError:
        inner = False
    if not inner:
        yield path
    elif (root / path / ".git").exists():
        yield from (f"{path}/{name}" for name in _from_git(root / path) or ())


def _without_excluded(paths: Iterable[str], rules: _Rules) -> Iterator[str]:
    for path in paths:
        if not rules.folder_excluded(path.rpartition("/")[0]) and not rules.excluded(path, folder=False):
            yield path


def _walk(root: Path, rules: _Rules, folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder or ".", error) from error
    if folder != rules.top and any(entry.name == "pyvenv.cfg" for entry in entries):
        return  # an environment by any name
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            if not rules.folder_excluded(path):
                yield from _walk(root, rules, path)
        elif not rules.excluded(path, folder=False):
            yield path


def _source_file(root: Path, path: str) -> SourceFile | None:
    """Return the file as it is, or None for what git still tracks but is gone, and for sockets and the like."""
    try:
        found = os.lstat(f"{root}/{path}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    if stat.S_ISLNK(found.st_mode):
        link = _inner_link(root, path)
        return SourceFile(path, len(os.fsencode(link)), executable=False, link=link, stamp=stamp)
    if not stat.S_ISREG(found.st_mode):
        return None
    return SourceFile(path, found.st_size, executable=bool(found.st_mode & 0o100), link=None, stamp=stamp)


def _inner_link(root: Path, path: str) -> str:
    """Return the link's target relative to the link's folder; raises for one that leaves the tree."""
    file = root / path
    target = Path(os.readlink(file))  # noqa: PTH115 - the text itself, not a path made of it
    lexical = Path(os.path.normpath(file.parent / target))
    if not lexical.is_relative_to(root) or not file.resolve(strict=False).is_relative_to(root):
        raise UsageError(
            "code.link_outside",
            f"{path} is a symbolic link to {target}, outside the project {root}.",
            next_step=f"Put a copy in the project, or name {path} in {IGNORE_FILE}.",
            field=path,
        )
    return PurePosixPath(os.path.relpath(lexical, file.parent)).as_posix()


def _check_size(files: list[SourceFile], limit: int) -> None:
    total = sum(file.size for file in files)
    if total <= limit:
        return
    biggest = sorted(files, key=lambda file: file.size, reverse=True)[:_NAMED]
    shown = ", ".join(f"{file.path} ({size_text(file.size)})" for file in biggest)
    raise ValidationError(
        "code.too_large",
        f"The project's files have {size_text(total)}; at most {size_text(limit)} travel. The biggest: {shown}.",
        next_step=f"Name data and other large files in {IGNORE_FILE} (patterns as in .gitignore).",
        details={"bytes": total, "limit": limit, "biggest": {file.path: file.size for file in biggest}},
    )


def unreadable(path: str, error: Exception) -> UsageError:
    """Return the error for a file of the project that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(
        "code.unreadable",
        f"{path} of the project cannot be read: {reason}.",
        next_step=f"Mend its rights or content, or name it in {IGNORE_FILE}.",
        field=path,
    )
