"""What the job's container is given to run with: Clary's own packages for the job, and the object-store client.

The tree is built on the laptop for the image's platform, named by its content, and kept under ``<home>/runtime/``. Its
top holds ``start.py``; the packages lie beside it, where Python looks first. This module is not part of it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.code.archive import content_digest, tree_digest
from clary.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "obstore"
"""The object-store client: the one package of others in the job."""
MANIFEST = "manifest.json"
"""Lists the tree. It is uploaded last, so where it lies the tree is whole."""

_PACKAGE = Path(__file__).resolve().parents[1]
_OWN = (
    "__init__.py",
    "_version.py",
    "errors.py",
    "image.py",
    "ids.py",
    "artifacts/*.py",
    "code/__init__.py",
    "code/archive.py",
    "engine/*.py",
    "flows/*.py",
    "journal/*.py",
    "kitaru/*.py",
    "zenml/*.py",
    "objects/*.py",
    "runtime/*.py",
    "runtime/isolated/*.py",
    "sagemaker/__init__.py",
    "sagemaker/causes.py",
    "sagemaker/failures.py",
    "secrets/__init__.py",
    "secrets/names.py",
    "secrets/redaction.py",
    "secrets/references.py",
    "stacks/__init__.py",
    "stacks/model.py",
)
"""What the job needs of this package; a test imports it with nothing else in reach."""
_STAYS = frozenset({"runtime/tree.py", "runtime/start.py"})
"""``start.py`` goes to the top of the tree; this module builds it."""
_CLIENT_PARTS = ("obstore/__init__.py", "obstore/store.py", "obstore/_obstore.*so", "obstore-*.dist-info/METADATA")
"""What the job needs of the client: no stubs, no sign-in to other clouds. METADATA lets its version be asked."""
_GLIBC = "manylinux_2_28"
"""Oldest C library asked for: that of the AWS base images (Amazon Linux 2023 has 2.34) and of Debian 10."""


@dataclass(frozen=True)
class Target:
    """The machine that a tree is for."""

    python: str = "3.11"
    arch: str = "x86_64"
    """``x86_64`` or ``aarch64``."""
    libc: str = "glibc"
    """``glibc`` or ``musl``."""

    @property
    def platform(self) -> str:
        """The platform in uv's words."""
        return f"{self.arch}-{_GLIBC}" if self.libc == "glibc" else f"{self.arch}-unknown-linux-musl"


@dataclass(frozen=True)
class RuntimeTree:
    """A tree that has been built."""

    digest: str
    folder: Path
    files: dict[str, int]
    """Sizes in bytes by path, without the manifest."""

    @property
    def prefix(self) -> str:
        """Where the tree lies under the artifact store's root."""
        return f"runtime/{self.digest}"

    @property
    def size(self) -> int:
        """Bytes of all the files."""
        return sum(self.files.values())


def build(target: Target, home: Path) -> RuntimeTree:
    """Return the tree for a target, built if it is not kept in ``home`` already.

    Raises ConfigError (``runtime.client_unavailable``) when the client for that platform cannot be had.
    """
    kept = home / "runtime"
    recipe = kept / "recipes" / _recipe(target)
    try:
        return _opened(kept / recipe.read_text())
    except (OSError, ValueError, KeyError):
        pass  # not built yet, or damaged
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=kept) as work:
        folder = Path(work) / "tree"
        _copy_own(folder)
        _add_client(target, folder, Path(work) / "client")
        digest = _seal(target, folder)
        _put_in_place(folder, kept / digest)
    if recipe.name == _recipe(target):  # else a source changed meanwhile (an editable installation)
        recipe.parent.mkdir(exist_ok=True)
        arriving = recipe.with_name(f"{recipe.name}.{os.getpid()}")
        arriving.write_text(digest)
        arriving.replace(recipe)
    return _opened(kept / digest)


def _recipe(target: Target) -> str:
    """Return a digest of everything that decides the content; reading some fifty small files takes milliseconds."""
    parts = [target.platform, target.python, importlib.metadata.version(CLIENT)]
    parts += [f"{path} {content_digest(_PACKAGE / source)}" for path, source in _own_files()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _own_files() -> Iterator[tuple[str, str]]:
    """Yield (path in the tree, path in this package)."""
    yield "start.py", "runtime/start.py"
    for pattern in _OWN:
        for file in sorted(_PACKAGE.glob(pattern)):
            source = file.relative_to(_PACKAGE).as_posix()
            if source not in _STAYS:
                yield f"clary/{source}", source


def _copy_own(folder: Path) -> None:
    for path, source in _own_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PACKAGE / source, folder / path)


def _add_client(target: Target, folder: Path, work: Path) -> None:
    source = _installed_client() if _installed_client_fits(target) else _fetched_client(target, work)
    for pattern in _CLIENT_PARTS:
        for file in source.glob(pattern):
            copy = folder / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _installed_client() -> Path:
    return Path(str(importlib.metadata.distribution(CLIENT).locate_file("")))


def _installed_client_fits(target: Target) -> bool:
    """Tell whether the client of this very environment is built for the target: then nothing need be fetched."""
    libc = "manylinux" if target.libc == "glibc" else "musllinux"
    tags = importlib.metadata.distribution(CLIENT).read_text("WHEEL") or ""
    return re.search(rf"^Tag: cp\d+-abi3-{libc}\w*_{target.arch}$", tags, re.MULTILINE) is not None


def _fetched_client(target: Target, work: Path) -> Path:
    from uv import find_uv_bin

    version = importlib.metadata.version(CLIENT)
    command = [
        *(find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--target", str(work), "--python-platform", target.platform, "--python-version", target.python),
        f"{CLIENT}=={version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return work
    raise ConfigError(
        "runtime.client_unavailable",
        f"{CLIENT} {version} for {target.platform} could not be fetched: {_last_line(done.stderr)}",
        next_step="Check the network; an index other than PyPI is named to uv by UV_DEFAULT_INDEX or UV_FIND_LINKS.",
        details={"platform": target.platform, "output": done.stderr[-2000:]},
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"^\W+", "", lines[-1])[:300] if lines else "uv said nothing."


def _seal(target: Target, folder: Path) -> str:
    """Write the manifest and return the tree's digest."""
    paths = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    digests = {path: content_digest(folder / path) for path in paths}
    digest = tree_digest((path, "f", digests[path]) for path in paths)
    manifest = {
        "v": 1,
        "digest": digest,
        "platform": target.platform,
        "files": {path: [(folder / path).stat().st_size, digests[path]] for path in paths},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return digest


def _put_in_place(folder: Path, place: Path) -> None:
    try:
        folder.rename(place)
    except OSError:  # there already: built by another process, or damaged
        try:
            _opened(place)
        except (OSError, ValueError, KeyError):
            place.rename(folder.with_name("damaged"))
            folder.rename(place)


def _opened(folder: Path) -> RuntimeTree:
    """Return the kept tree; raises OSError, ValueError or KeyError for one that is not whole."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    files = {path: size for path, (size, _) in manifest["files"].items()}
    for path, size in files.items():
        if (folder / path).stat().st_size != size:
            raise ValueError(f"{path} is damaged")
    return RuntimeTree(manifest["digest"], folder, files)
