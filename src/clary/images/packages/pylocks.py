"""Locks in the form of PEP 751: reading any tool's, choosing what one target needs, and writing our own.

Our own holds for one target, and names one wheel a package: the same choice makes the same bytes, whatever else an
index offers by then. It holds no path of this machine and no name or password. A wheel that was built here, or that a
local folder gave, stands in it as ``wheels/<file name>``; its bytes are in the wheel store, under the digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images.building import Python, Wheel
from clary.images.packages import targets
from clary.images.packages.documents import FIELD
from clary.images.packages.sources import OWN, check_known

if TYPE_CHECKING:
    from packaging.pylock import Package, Pylock

LOCAL = "wheels"
"""The folder beside a lock where wheels without a URL are meant to lie."""
_NO_WHEEL = re.compile(r"No wheel found .*? package '([^']+)'")


@dataclass(frozen=True)
class Raw:
    """A package that a lock names without a wheel that fits."""

    name: str
    version: str | None
    kind: str
    """``sdist``, ``archive``, ``directory`` or ``git``."""
    place: str
    """A URL, or a path relative to the lock's folder."""
    sha256: str = ""
    size: int = 0
    commit: str = ""
    subdirectory: str | None = None


def parse(text: bytes, name: str) -> Pylock:
    """Return the lock that ``text`` is. ``name`` is its file's. Raises ConfigError ``image.bad_lock``."""
    import tomllib

    from packaging.pylock import Pylock, PylockValidationError

    try:
        return Pylock.from_dict(tomllib.loads(text.decode()))
    except (ValueError, PylockValidationError) as error:
        raise bad_lock(name, str(error).splitlines()[0]) from None


def choose(
    lock: Pylock, python: Python, name: str, *, extras: Iterable[str] = (), groups: Iterable[str] = ()
) -> list[Wheel | Raw]:
    """Return what the target needs of a lock, in the order of names; Clary itself is left out.

    ``groups`` are added to the lock's default ones. Raises ConfigError ``image.no_wheel``, ``image.python_mismatch``,
    ``image.bad_lock``, ``image.unknown_extra``, ``image.unknown_group``.
    """
    from packaging.pylock import PylockSelectError

    check_known("extra", extras, lock.extras or (), of="lock")
    check_known("group", groups, lock.dependency_groups or (), of="lock")
    try:
        chosen = list(
            lock.select(
                environment=targets.marker_environment(python),
                tags=targets.tags(python),
                extras=list(extras),
                dependency_groups=[*(lock.default_groups or ()), *groups],
            )
        )
    except PylockSelectError as error:
        raise _unfit(str(error), python, name) from None
    found = [_choice(package, picked, name) for package, picked in chosen if package.name != OWN]
    return sorted(found, key=lambda one: one.name)


def wheels_of(text: bytes) -> tuple[Wheel, ...]:
    """Return the wheels that one of our own locks names. One without a URL lies in the wheel store.

    Raises ConfigError ``image.bad_lock``.
    """
    import tomllib

    if not text:
        return ()
    packages = tomllib.loads(text.decode()).get("packages", ())
    return tuple(_own_wheel(package, row) for package in packages for row in package.get("wheels", ()))


def _own_wheel(package: dict[str, Any], row: dict[str, Any]) -> Wheel:
    return Wheel(
        package["name"], package["version"], row["name"], row["hashes"]["sha256"], row.get("size", 0), row.get("url")
    )


def render(wheels: Sequence[Wheel], raw: Sequence[Raw], python: Python) -> bytes:
    """Return our own lock: one target's wheels, and what a builder with a compiler will build (``raw``)."""
    major, minor = targets.release(python)[:2]
    environment = f"sys_platform == 'linux' and platform_machine == '{python.platform.machine}'"
    head = [
        'lock-version = "1.0"',
        f"environments = [{_quoted(environment)}]",
        f'requires-python = "=={major}.{minor}.*"',
        'created-by = "clary"',
    ]
    entries = {one.name: _wheel_entry(one) for one in wheels} | {one.name: _raw_entry(one) for one in raw}
    return ("\n".join(head) + "\n" + "".join(entries[name] for name in sorted(entries))).encode()


def _wheel_entry(wheel: Wheel) -> str:
    place = f"url = {_quoted(wheel.url)}" if wheel.url else f"path = {_quoted(f'{LOCAL}/{wheel.filename}')}"
    size = f", size = {wheel.size}" if wheel.size else ""
    file = f"name = {_quoted(wheel.filename)}, {place}{size}, hashes = {{ sha256 = {_quoted(wheel.sha256)} }}"
    return (
        f"\n[[packages]]\nname = {_quoted(wheel.name)}\nversion = {_quoted(wheel.version)}\nwheels = [{{ {file} }}]\n"
    )


def _raw_entry(raw: Raw) -> str:
    version = f"version = {_quoted(raw.version)}\n" if raw.version else ""
    below = f", subdirectory = {_quoted(raw.subdirectory)}" if raw.subdirectory else ""
    digest = f", hashes = {{ sha256 = {_quoted(raw.sha256)} }}"
    if raw.kind == "git":
        what = f'vcs = {{ type = "git", url = {_quoted(raw.place)}, commit-id = {_quoted(raw.commit)}{below} }}'
    elif raw.kind == "archive":
        what = f"archive = {{ url = {_quoted(raw.place)}{digest}{below} }}"
    else:
        size = f", size = {raw.size}" if raw.size else ""
        what = f"sdist = {{ url = {_quoted(raw.place)}{size}{digest} }}"
    return f"\n[[packages]]\nname = {_quoted(raw.name)}\n{version}{what}\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML: JSON's escapes are among its own


def _choice(package: Package, picked: Any, name: str) -> Wheel | Raw:
    from packaging.pylock import PackageArchive, PackageDirectory, PackageSdist, PackageVcs

    version = str(package.version) if package.version else None
    if isinstance(picked, PackageVcs):
        if picked.type != "git":
            raise bad_lock(name, f"{package.name} comes from {picked.type}, and only git can be read")
        return Raw(
            package.name, version, "git", _place(picked), commit=picked.commit_id, subdirectory=picked.subdirectory
        )
    if isinstance(picked, PackageDirectory):
        return Raw(package.name, version, "directory", picked.path, subdirectory=picked.subdirectory)
    sha256 = picked.hashes.get("sha256", "")
    if not sha256:
        raise bad_lock(name, f"{package.name} has no sha256 digest in it")
    if isinstance(picked, PackageSdist):
        return Raw(package.name, version, "sdist", _place(picked), sha256, picked.size or 0)
    place = _place(picked)
    filename = place.partition("#")[0].rpartition("/")[2] if isinstance(picked, PackageArchive) else picked.filename
    if not filename.endswith(".whl"):
        return Raw(package.name, version, "archive", place, sha256, picked.size or 0, subdirectory=picked.subdirectory)
    return Wheel(package.name, version or _version(filename), _unescaped(filename), sha256, picked.size or 0, place)


def _place(picked: Any) -> str:
    return str(picked.url or picked.path)


def _unescaped(filename: str) -> str:
    from urllib.parse import unquote

    return unquote(filename)


def _version(filename: str) -> str:
    from packaging.utils import parse_wheel_filename

    return str(parse_wheel_filename(_unescaped(filename))[1])


def _unfit(problem: str, python: Python, name: str) -> ConfigError:
    missing = _NO_WHEEL.search(problem)
    if missing is not None:
        return no_wheel(missing[1], targets.described(python))
    if "Python version" in problem:
        return ConfigError(
            "image.python_mismatch",
            f"{name} is not for Python {python.version}: {problem}.",
            next_step="Set python in the image, choose another base, or make the lock for this Python.",
            field="image.python",
        )
    return bad_lock(name, problem)


def no_wheel(
    package: str, target: str, details: dict[str, Any] | None = None, *, has_source: bool = False
) -> ConfigError:
    """Return the error that a package has no wheel for the target, and no source to build one from that uv may use."""
    source = "let uv build it: its settings forbid that" if has_source else "leave it out: there is no source either"
    return ConfigError(
        "image.no_wheel",
        f"There is no wheel of {package} for {target}.",
        next_step=f"Ask for a version that has one, choose another base or Python, or {source}.",
        field=FIELD,
        details=details,
    )


def bad_lock(name: str, problem: str) -> ConfigError:
    """Return the error that a lock cannot be used."""
    return ConfigError(
        "image.bad_lock",
        f"{name} cannot be used as a lock: {problem}.",
        next_step="Make it anew, for example with `uv export --format pylock.toml` or `uv lock`.",
        field=FIELD,
    )
