"""Paths in a file system that is not this process's own. Standard library only: the launcher uses it."""

from __future__ import annotations

import os
import stat

_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""


def follow(root: str, name: str) -> str:
    """Return the folder that ``name`` leads to in the file system below ``root``: links lead nowhere but inside.

    What is not there is made. Raises NotADirectoryError where the way leads over something else. Nobody else may
    change the file system meanwhile.
    """
    left = _parts(name)
    at: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            del at[-1:]
            continue
        path = "/".join((root, *at, part))
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path)  # noqa: PTH102 - paths are texts throughout
            os.chmod(path, 0o755)  # noqa: PTH101, S103 - as containers find it, whatever the umask is
            mode = stat.S_IFDIR
        if stat.S_ISLNK(mode):
            links += 1
            target = os.readlink(path)  # noqa: PTH115 - texts throughout
            if links > _MOST_LINKS:
                raise NotADirectoryError(f"the links at {name!r} lead in a circle")
            if target.startswith("/"):
                at = []
            left += _parts(target)
        elif stat.S_ISDIR(mode):
            at.append(part)
        else:
            raise NotADirectoryError(f"{name!r} leads over {part!r}, which is no folder")
    return "/".join((root, *at))


def _parts(name: str) -> list[str]:
    return [part for part in reversed(name.split("/")) if part not in ("", ".")]
