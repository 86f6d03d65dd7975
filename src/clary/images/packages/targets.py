"""A base image's Python in the words of packages: tags of wheels that fit it, and the environment of markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.markers import Environment, Marker
    from packaging.tags import Tag

    from clary.images.building import Python

_UV_GLIBC = (17, 28, *range(31, 41))
"""The glibc 2.x that uv resolves for. Source: ``uv pip compile --help``, uv 0.13."""
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
"""Source: PEP 600; there are no older manylinux profiles."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_LATEST_PATCH = 99
"""Stands for the patch version of a base of which only ``3.12`` is known: bases follow the latest one."""


def uv_platform(python: Python) -> str:
    """Return the platform that uv resolves for: the newest one it knows that is not newer than the base's C library.

    Raises ConfigError ``image.libc_too_old``.
    """
    if python.libc == "musl":
        return f"{python.platform.machine}-unknown-linux-musl"
    minors = [minor for minor in _UV_GLIBC if (2, minor) <= python.libc_version]
    if not minors:
        version = ".".join(map(str, python.libc_version))
        raise ConfigError(
            "image.libc_too_old",
            f"The base's C library (glibc {version}) is older than any that wheels are made for today.",
            next_step="Choose a newer base: glibc 2.17 is the least, 2.28 fits nearly all wheels.",
            field="image.base",
        )
    return f"{python.platform.machine}-manylinux_2_{minors[-1]}"


def tags(python: Python) -> list[Tag]:
    """Return the tags of wheels that fit, best first, whatever machine this is.

    The order is uv's: plain ``linux_…``, which says nothing of the C library, comes last. Source: PEP 425, 600, 656.
    """
    from packaging.tags import compatible_tags, cpython_tags

    major, minor = release(python)[:2]
    platforms = _platforms(python)
    interpreter = f"cp{major}{minor}"
    return [
        *cpython_tags((major, minor), abis=[interpreter], platforms=platforms),
        *compatible_tags((major, minor), interpreter=interpreter, platforms=platforms),
    ]


def marker_environment(python: Python) -> Environment:
    """Return what environment markers are judged by. Source: PEP 508."""
    full = ".".join(map(str, release(python)))
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": python.platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": ".".join(map(str, release(python)[:2])),
        "sys_platform": "linux",
    }


def holds(marker: Marker | None, environment: Mapping[str, Any], *, doubtful: bool) -> bool:
    """Tell whether a marker holds; ``doubtful`` is the answer for one that cannot be judged."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    try:
        return marker is None or marker.evaluate(dict(environment))
    except (UndefinedComparison, UndefinedEnvironmentName):
        return doubtful


def is_allowed(python: Python, required: str | None) -> bool:
    """Tell whether a ``requires-python`` allows a Python; raises packaging's InvalidSpecifier."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(required or "").contains(".".join(map(str, release(python))))


def release(python: Python) -> tuple[int, int, int]:
    """Return the three numbers of the Python's version; where the last is not known, one higher than any."""
    numbers = [int(part) for part in python.version.split(".")[:3]]
    return numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else _LATEST_PATCH


def described(python: Python) -> str:
    """Return the target for people: ``Python 3.12 on x86_64 with glibc 2.36``."""
    libc = ".".join(map(str, python.libc_version))
    return f"Python {python.version} on {python.platform.machine} with {python.libc} {libc}"


def _platforms(python: Python) -> list[str]:
    machine, (major, newest) = python.platform.machine, python.libc_version
    if python.libc == "musl":
        return [*(f"musllinux_{major}_{minor}_{machine}" for minor in range(newest, -1, -1)), f"linux_{machine}"]
    found = []
    for minor in range(newest, _OLDEST_GLIBC[machine] - 1, -1):
        found.append(f"manylinux_2_{minor}_{machine}")
        if minor in _LEGACY:
            found.append(f"{_LEGACY[minor]}_{machine}")
    return [*found, f"linux_{machine}"]
