"""Packages that travel beside the code, for images that have none: unpacked at start, then entered.

The channel holds the very layers that a built image would have, and ``packages.json``, which names them. They hold a
virtual environment at its one place; the process goes on in that environment's Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from clary.errors import ConfigError

CHANNEL = "dependencies"
LISTING = "packages.json"
"""Ends the name of the file that says which layers make the environment."""
_CHUNK = 1024 * 1024
_HERE = "CLARY_DEPENDENCIES"
"""Set in the process that has entered the environment."""


def enter(opt_ml: Path, arguments: list[str], root: Path = Path("/")) -> None:
    """Unpack the packages, where some were sent, and go on as ``arguments`` in their Python. Else return.

    Args:
        opt_ml: where the channels are.
        arguments: of the Python that is started in place of this process.
        root: below which the layers are unpacked.

    Raises ConfigError (``job.dependencies_damaged``, ``job.dependencies_unusable``).
    """
    channel = opt_ml / "input" / "data" / CHANNEL
    if _HERE in os.environ or not channel.is_dir():
        return
    listing = _listing(channel)
    venv = root / listing["venv"].lstrip("/")
    _unpack_all(channel, listing, root)
    _check(venv, listing)
    programs = f"{venv}/bin"
    os.environ["PATH"] = f"{programs}:{os.environ.get('PATH', os.defpath)}"
    os.environ["VIRTUAL_ENV"] = str(venv)
    os.environ[_HERE] = listing["digest"]
    sys.stdout.flush()
    try:
        os.execv(f"{programs}/python3", ["python3", *arguments])  # noqa: S606 - without a shell on purpose
    except OSError as error:
        raise _unusable(f"{programs}/python3 cannot be started ({error.strerror})", listing) from error


def _listing(channel: Path) -> dict[str, Any]:
    found = sorted(channel.glob(f"*{LISTING}"))
    if len(found) != 1:
        raise _damaged(f"there are {len(found)} lists of packages in it")
    try:
        listing: dict[str, Any] = json.loads(found[0].read_bytes())
    except ValueError as error:
        raise _damaged(str(error)) from error
    return listing


def _unpack_all(channel: Path, listing: dict[str, Any], root: Path) -> None:
    marker = root / listing["venv"].lstrip("/") / LISTING
    with suppress(OSError):
        if marker.read_text() == listing["digest"]:  # the container of the same job was started again
            return
    work = [(channel / f"{layer}.tar.gz", layer, root, listing["root"]) for layer in listing["layers"]]
    at_once = min(len(work), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    if at_once < 2:
        for one in work:
            _unpack(*one)
    else:
        with ProcessPoolExecutor(at_once, mp_context=get_context("fork")) as pool:
            for done in [pool.submit(_unpack, *one) for one in work]:
                done.result()
    marker.write_text(listing["digest"])


def _unpack(archive: Path, digest: str, root: Path, inside: str) -> None:
    """Unpack one layer, which may hold folders, files and links below ``inside``, and nothing else."""
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise _damaged(f"{archive.name} has the digest {found[:12]}…")
        with tarfile.open(archive, mode="r:gz") as entries:
            for entry in entries:
                _write(entries, entry, root, inside.strip("/"))
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(f"{archive.name}: {error}") from error
    except OSError as error:
        raise _denied(archive, error) from error


def _write(entries: tarfile.TarFile, entry: tarfile.TarInfo, root: Path, inside: str) -> None:
    parts = Path(entry.name).parts
    within = entry.name == inside or entry.name.startswith(f"{inside}/") or inside.startswith(f"{entry.name}/")
    if not within or ".." in parts:
        raise _damaged(f"{entry.name!r} leads out of its place")
    target = root / entry.name
    if entry.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        target.unlink()
    if entry.issym():
        target.symlink_to(entry.linkname)
        return
    source = entries.extractfile(entry) if entry.isreg() else None
    if source is None:
        raise _damaged(f"{entry.name!r} is neither a folder, a file nor a link")
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, entry.mode & 0o755), "wb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)


def _check(venv: Path, listing: dict[str, Any]) -> None:
    interpreter = venv / "bin" / f"python{listing['python']}"
    if not interpreter.exists():
        leads = interpreter.readlink() if interpreter.is_symlink() else interpreter
        raise _unusable(f"they are for Python {listing['python']} at {leads}, which this image does not have", listing)


def _damaged(problem: str) -> ConfigError:
    return ConfigError(
        "job.dependencies_damaged",
        f"The packages that came with the job cannot be used: {problem}.",
        next_step="Delete dependencies/ in the artifact store; the next submit stores it anew.",
    )


def _unusable(problem: str, listing: dict[str, Any]) -> ConfigError:
    return ConfigError(
        "job.dependencies_unusable",
        f"The packages that came with the job do not fit its image: {problem}.",
        next_step=f"Name the image's own Python in the flow's Image (not {listing['python']}), or build one.",
    )


def _denied(archive: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "job.dependencies_unusable",
        f"The packages in {archive.name} cannot be unpacked: {error.strerror} ({error.filename}).",
        next_step="The image's user has to be able to write /opt; a larger volume helps where the disk is full.",
    )
