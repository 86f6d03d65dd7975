"""Where in an image files may be put. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from clary.errors import ConfigError
from clary.images.building import ROOT
from clary.images.wheels.names import check_name
from clary.images.wheels.problems import Problem

LINKED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock")
"""Folders that are links in most images: a layer with such a folder would put an empty one in the link's place."""
MOUNTED = ("opt/ml", "proc", "sys", "dev")
"""Folders that are mounted over when a container starts: what lies in the image is not seen."""
_USUAL = (
    "boot etc home media mnt opt run srv usr usr/bin usr/games usr/include usr/lib usr/libexec usr/local usr/local/bin "
    "usr/local/etc usr/local/include usr/local/lib usr/local/sbin usr/local/share usr/sbin usr/share usr/src var "
    "var/cache var/lib var/log var/opt var/spool"
)
FOLDERS: Mapping[str, int] = {
    **dict.fromkeys(_USUAL.split(), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
"""Folders of every Linux system, relative to its top, and their modes. Source: Filesystem Hierarchy Standard 3.0."""


def problem(place: str) -> str | None:
    """Return why nothing can be put at an absolute place of an image; None where it can."""
    inside = place.removeprefix("/")
    if not inside or inside == place:
        return "it is the image as a whole" if place == "/" else "it is not absolute"
    try:
        place.encode()
        check_name(inside)
    except Problem as problem:
        return problem.text
    except UnicodeEncodeError:
        return "it is not UTF-8"
    for folder in LINKED:
        if inside == folder or inside.startswith(f"{folder}/"):
            return f"/{folder} is a link in most images; name the folder that it leads to, such as /usr/{folder}"
    for folder in MOUNTED:
        if inside == folder or inside.startswith(f"{folder}/"):
            return f"/{folder} is mounted over when the container starts"
    return None


def copy_problem(place: str) -> str | None:
    """Return why nothing of a project's own can be put at an absolute place of an image; None where it can."""
    return "Clary keeps what it adds there" if PurePosixPath(place).is_relative_to(ROOT) else problem(place)


def check_file(place: str) -> None:
    """Raise ConfigError ``image.bad_place`` where no file can be copied: also for a folder of every Linux system."""
    told = copy_problem(place)
    if told is not None:
        raise refused(place, told)
    if place[1:] in FOLDERS:
        raise is_folder(place)


def is_folder(place: str) -> ConfigError:
    """Return the refusal of a file at the place of a folder."""
    step = f"Put it into the folder ({place}/), or name a path of its own, such as /opt/tool."
    return refused(place, "it is a folder of the image, which the file would replace", step)


def refused(place: str, reason: str, next_step: str = "") -> ConfigError:
    """Return the refusal of a place."""
    return ConfigError(
        "image.bad_place",
        f"Nothing can be put at {place!a} in an image: {reason}.",
        next_step=next_step or "Name a plain absolute path, for example /opt/app or /usr/local/bin/tool.",
        field="image.copy",
    )
