"""The container's file system, built from inside its mount namespace. Runs in the launcher: standard library only.

The root is an overlay of the image and a folder of the container's own, so that it is writable and the image is not
touched. Where overlays are refused the root is a copy (made by the sandbox) and the image's big folders are read-only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from clary.sandbox.containers import syscalls
from clary.sandbox.containers.inside import follow
from clary.sandbox.containers.plan import Mount, Plan, UserNamespace
from clary.sandbox.containers.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
# Docker's own lists of what a container must not see or change of the kernel (moby, oci/defaults.go).
_HIDDEN_FILES = ("kcore", "keys", "latency_stats", "timer_list", "sched_debug", "kmsg")
_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")


def build(plan: Plan) -> None:
    """Mount everything and make it this process's root."""
    scratch = Path(plan.scratch)
    _own_mounts(scratch)
    root = scratch / "root"
    if plan.overlay:
        lower = Path(plan.root)
        os.chdir(lower.parent)  # the names of many layers fit into the options of a mount, their paths do not
        _overlay(plan, [*plan.layers, lower.name], str(root), "root")
    else:
        syscalls.bind(str(root), str(root))
    for number, one in enumerate(plan.mounts):
        _show(plan, one, root, f"layer-{number}")
    nothing = scratch / "nothing"
    nothing.mkdir(exist_ok=True)
    for path in plan.hidden:
        if (root / path.lstrip("/")).is_dir():
            syscalls.bind(str(nothing), _inside(root, path), read_only=True)
    etc = Path(follow(str(root), "etc"))
    for name, text in (("hosts", plan.etc_hosts), ("hostname", plan.host + "\n"), ("resolv.conf", "")):
        _replace(etc / name, text)
    _devices(root)
    _kernel(root)
    _opt_ml(plan, root)
    syscalls.pivot_into(str(root))


def _own_mounts(scratch: Path) -> None:
    """Keep the mounts made here from the host's namespace.

    That is said of a mount point, and the root of a chroot is none. So in a chroot the process first goes up to the
    real root (chroot(2) tells how: a working directory outside the root is not held by it), says it there, makes the
    chroot's folder a mount point and comes back.
    """
    private = syscalls.MS_REC | syscalls.MS_PRIVATE
    try:
        syscalls.mount("", "/", flags=private)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return
    here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chroot(scratch)
    os.fchdir(here)
    while not Path().samefile(".."):
        os.chdir("..")
    os.chroot(".")
    syscalls.mount("", "/", flags=private)
    os.fchdir(here)
    os.close(here)
    folder = str(Path.cwd())
    syscalls.bind(folder, folder)
    os.chdir(folder)
    os.chroot(".")
    os.chdir("/")


def _replace(path: Path, text: str) -> None:
    """Write a file of the container's own; a link that the image has there is not followed."""
    if path.is_symlink():
        path.unlink()
    path.write_text(text)
    path.chmod(0o644)


def _show(plan: Plan, one: Mount, root: Path, layer: str) -> None:
    target = _inside(root, one.target)
    if one.layered and plan.overlay:
        _overlay(plan, [one.source], target, layer)
    else:
        syscalls.bind(one.source, target, read_only=True)


def _overlay(plan: Plan, lowers: Sequence[str], target: str, name: str) -> None:
    """Mount an overlay of these folders, the topmost first, and one of the container's own."""
    upper, work = (Path(plan.scratch) / kind / name for kind in ("upper", "work"))
    for folder in (upper, work, Path(target)):
        folder.mkdir(parents=True, exist_ok=True)
    upper.chmod(Path(lowers[0]).stat().st_mode & 0o7777)
    options = f"lowerdir={':'.join(map(_escape, lowers))},upperdir={_escape(str(upper))},workdir={_escape(str(work))}"
    if plan.user_namespace is not UserNamespace.NONE:
        options += ",userxattr"
    syscalls.mount("overlay", target, "overlay", MS_NODEV, options)


def _escape(path: str) -> str:
    for letter in "\\:,":
        path = path.replace(letter, "\\" + letter)
    return path


def _devices(root: Path) -> None:
    dev = Path(follow(str(root), "dev"))
    syscalls.mount("tmpfs", str(dev), "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        (dev / name).touch()
        syscalls.bind(f"/dev/{name}", str(dev / name))
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
    for name, kind, options in (
        ("shm", "tmpfs", "mode=1777"),
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620"),
    ):
        (dev / name).mkdir()
        syscalls.mount(kind, str(dev / name), kind, MS_NOSUID | MS_NOEXEC, options)
    (dev / "ptmx").symlink_to("pts/ptmx")


def _kernel(root: Path) -> None:
    proc = Path(follow(str(root), "proc"))
    syscalls.mount("proc", str(proc), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in _HIDDEN_FILES:
        if (proc / name).exists():
            syscalls.bind("/dev/null", str(proc / name))
    for name in _READ_ONLY:
        if (proc / name).exists():
            syscalls.bind(str(proc / name), str(proc / name), read_only=True)
    try:
        syscalls.mount("sysfs", follow(str(root), "sys"), "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        # Refused in a user namespace on a host whose own /sys is partly hidden; containers do well without it.
        return


def _opt_ml(plan: Plan, root: Path) -> None:
    target = follow(str(root), "opt/ml")
    syscalls.bind(plan.opt_ml, target)
    for path in plan.read_only:
        below = _inside(Path(target), path.removeprefix("/opt/ml"))
        syscalls.bind(below, below, read_only=True)


def _inside(root: Path, path: str) -> str:
    """Return the host's path of a path inside; refuses one that would leave the root through a link or ``..``."""
    full = os.path.normpath(f"{root}/{path}")
    if os.path.realpath(full) != os.path.normpath(f"{os.path.realpath(root)}/{path}"):
        raise OSError(f"{path} leaves the container's root")
    return full
