"""Wheels for packages that come as source: built in isolation by uv, kept by the digest of the source.

Only pure Python comes out of this machine: what a compiler makes here would not fit the image's C library.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from clary.code import snapshot
from clary.errors import ClaryError, ConfigError
from clary.files import write_whole
from clary.images.building import Progress, Wheel
from clary.images.packages import resolving, store, uv_failures
from clary.images.packages.documents import FIELD
from clary.images.packages.downloading import Job
from clary.images.packages.secrecy import masked, scrubbed

if TYPE_CHECKING:
    from clary.images.packages.fetching import Fetcher
    from clary.images.packages.pylocks import Raw

_EPOCH = "315532800"
"""1980-01-01, the first time that a zip can hold; backends write it into the wheel's entries (SOURCE_DATE_EPOCH)."""
_BUILT_BY = 2
"""Grows when the same source is built in another way."""


@dataclass(frozen=True)
class Workshop:
    """Where sources are built, and with what."""

    cache: Path
    """Clary's cache for images."""
    folder: Path
    """Where relative paths of the lock are meant from."""
    fetcher: Fetcher
    environment: Mapping[str, str]
    progress: Progress

    def wheel(self, raw: Raw) -> Wheel:
        """Return the wheel of a source package, from the wheel store or built into it.

        Raises ConfigError ``image.needs_compiler``, ``image.build_failed``, and what fetching raises.
        """
        record = self.cache / "built" / f"{self._key(raw)}.json"
        known = self._known(record)
        if known is not None:
            return known
        self.progress.stage(f"building a wheel of {raw.name}")
        with tempfile.TemporaryDirectory(prefix="clary-build-") as work:
            with store.disk_errors("builds", "TMPDIR"):
                made = self._built(raw, self._source(raw, Path(work)), Path(work) / "out")
            sha256, size, path = store.take_in(store.wheel_store(self.cache), made)
        wheel = Wheel(raw.name, raw.version or _version(made.name), made.name, sha256, size, path=path)
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(record, json.dumps([wheel.name, wheel.version, wheel.filename, sha256, size]))
        return wheel

    def directory_digest(self, raw: Raw) -> tuple[Path, str]:
        """Return a local project's folder and the digest of its files."""
        folder = self.folder / raw.place / (raw.subdirectory or "")
        if not folder.is_dir():
            raise _failed(raw, f"{raw.place} is no folder")
        return folder.resolve(), snapshot.take(folder, self.cache / "trees").digest

    def _key(self, raw: Raw) -> str:
        what = raw.sha256 or raw.commit or self.directory_digest(raw)[1]
        parts = [str(_BUILT_BY), raw.name, raw.kind, what, raw.subdirectory or ""]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _known(self, record: Path) -> Wheel | None:
        try:
            name, version, filename, sha256, size = json.loads(record.read_bytes())
        except (OSError, ValueError):
            return None
        wheel = Wheel(name, version, filename, sha256, size)
        path = store.kept(store.wheel_store(self.cache), wheel)
        return Wheel(name, version, filename, sha256, size, path=path) if path else None

    def _source(self, raw: Raw, work: Path) -> Path:
        """Return a folder or an sdist to build from, laid out for this build alone."""
        if raw.kind == "directory":
            return self._copied(raw, work / "source")
        if raw.kind == "git":
            return _cloned(raw, work / "source", self.environment) / (raw.subdirectory or "")
        filename = unquote(urlsplit(raw.place).path.rpartition("/")[2])
        local = self.folder / raw.place
        url = raw.place if "://" in raw.place else local.resolve().as_uri()
        fetched = self.fetcher.all([Job(url, filename, raw.sha256, raw.size)], 1)[0]
        if raw.subdirectory is None:
            return fetched
        filtered = {} if fetched.suffix == ".zip" else {"filter": "data"}
        shutil.unpack_archive(fetched, work / "source", **filtered)  # type: ignore[arg-type]  # typeshed knows no words
        _set_modes(work / "source")
        inside = list((work / "source").iterdir())
        return (inside[0] if len(inside) == 1 else work / "source") / raw.subdirectory

    def _copied(self, raw: Raw, place: Path) -> Path:
        """Copy a local project: backends leave traces where they build, and old traces get into wheels."""
        folder, _ = self.directory_digest(raw)
        for file in snapshot.take(folder, self.cache / "trees").selection.files:
            copy = place / file.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / file.path, copy, follow_symlinks=False)
        _set_modes(place)
        return place

    def _built(self, raw: Raw, source: Path, out: Path) -> Path:
        arguments = ["build", "--wheel", "--out-dir", str(out), "--python", sys.executable, str(source)]
        environment = {**self.environment, "SOURCE_DATE_EPOCH": _EPOCH, "PYTHONHASHSEED": "0"}
        done = resolving.run(arguments, out.parent, environment)
        made = list(out.glob("*.whl"))
        if done.returncode or len(made) != 1:
            raise _failed(raw, uv_failures.last_words(done.stderr), done.stderr)
        if not _pure(made[0].name):
            raise needs_compiler(raw.name, made[0].name)
        return made[0]


def needs_compiler(name: str, filename: str) -> ClaryError:
    """Return the error that a package comes as source and is not pure Python."""
    return ConfigError(
        "image.needs_compiler",
        f"{name} has no wheel for the image, and is not pure Python (it builds {filename}).",
        next_step="Ask for a version that has a wheel, or use the builder docker or kaniko, which compile: "
        "builder=… in the image, or --builder.",
        field=FIELD,
    )


def _set_modes(folder: Path) -> None:
    """Give files the modes that git knows: backends write them into wheels, and umasks differ."""
    for place, _, names in os.walk(folder):
        Path(place).chmod(0o755)
        for file in (Path(place) / name for name in names):
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _pure(filename: str) -> bool:
    from packaging.tags import Tag
    from packaging.utils import parse_wheel_filename

    return Tag("py3", "none", "any") in parse_wheel_filename(filename)[-1]


def _version(filename: str) -> str:
    from packaging.utils import parse_wheel_filename

    return str(parse_wheel_filename(filename)[1])


def _cloned(raw: Raw, place: Path, environment: Mapping[str, str]) -> Path:
    """Check a commit out. The URL goes by the environment: it may hold a token, and arguments are seen by everybody."""
    place.mkdir(parents=True)
    settings = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": raw.place,
    }

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-c", "advice.detachedHead=false", *arguments]
        done = subprocess.run(
            command,
            cwd=place,
            env={**environment, **settings},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            umask=resolving.UMASK,
        )
        done.stderr = masked(done.stderr, environment)
        return done

    git("init", "--quiet")
    fetched = git("fetch", "--quiet", "--depth", "1", "origin", raw.commit)
    if fetched.returncode:  # a host that gives out branches and tags only
        fetched = git("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
    steps = (("checkout", "--quiet", raw.commit), ("submodule", "--quiet", "update", "--init", "--recursive"))
    for done in (fetched, *(git(*step) for step in steps if fetched.returncode == 0)):
        if done.returncode:
            raise _failed(raw, f"git: {uv_failures.last_words(done.stderr)}", done.stderr)
    return place


def _failed(raw: Raw, problem: str, output: str = "") -> ClaryError:
    text = scrubbed(output)
    if "No space left on device" in text:
        return uv_failures.disk_full("builds", "TMPDIR")
    if "fetch" in text and uv_failures.is_unreachable(text):
        return uv_failures.unreachable(
            uv_failures.host(text), "what the build needs could not be fetched", {"output": text[-8000:]}
        )
    return uv_failures.build_failed(raw.name, scrubbed(problem), {"output": text[-8000:]} if text else None)
