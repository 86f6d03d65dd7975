"""Entering a user namespace. Runs in the launcher and in the switch: standard library only."""

from __future__ import annotations

import os
from pathlib import Path

from clary.sandbox.containers import syscalls
from clary.sandbox.containers.plan import UserNamespace


def new_user_namespace(kind: UserNamespace) -> None:
    """Enter a new user namespace of that kind and map its ids; does nothing for NONE. Raises OSError when refused."""
    if kind is UserNamespace.FULL:
        _map_everybody()
    elif kind is UserNamespace.SINGLE:
        user, group = os.getuid(), os.getgid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _map_everybody() -> None:
    """Map every id to itself. Only a process with rights in the old namespace may, hence the short-lived child."""
    me = os.getpid()
    maps = {name: _whole_map(Path(f"/proc/self/{name}").read_text()) for name in ("uid_map", "gid_map")}
    ready, go = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        os.close(go)
        code = 1
        try:
            if os.read(ready, 1):
                for name, text in maps.items():
                    Path(f"/proc/{me}/{name}").write_text(text)
                code = 0
        finally:
            os._exit(code)
    os.close(ready)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(go, b"1")
    finally:
        os.close(go)
        _, result = os.waitpid(mapper, 0)
    if result != 0:
        raise PermissionError("the user namespace's map of ids was refused")


def _whole_map(own: str) -> str:
    """Return a map of every id that exists here to itself."""
    return "\n".join(f"{first} {first} {count}" for first, _, count in (line.split() for line in own.splitlines()))
