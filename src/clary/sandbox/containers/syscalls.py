"""The few Linux calls that Python 3.11 lacks, through ctypes. Runs in the launcher: standard library only.

Sources: mount(2), pivot_root(2), unshare(2), setns(2), mount_setattr(2), prctl(2), netdevice(7).
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
from fcntl import ioctl

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MNT_DETACH = 2

_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "s390x": 217, "riscv64": 41}

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38

_SIOCSIFADDR = 0x8916
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFNETMASK = 0x891C
_SIOCBRADDBR = 0x89A0
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` for new ones."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind an open ``/proc/<pid>/ns/…`` file."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Mount; raises OSError that names the target."""
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind and kind.encode(),
            ctypes.c_ulong(flags),
            options and options.encode(),
        ),
        f"mount {kind or source} on {target}",
    )


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show a file or a folder, with what is mounted below it, at a second place."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: str) -> None:
    """Make a mount and everything mounted below it read-only (Linux 5.12; before that only the mount itself)."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(_SYS_MOUNT_SETATTR, -1, target.encode(), _AT_RECURSIVE, attributes, len(attributes))
    if result != 0:
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def pivot_into(root: str) -> None:
    """Make ``root``, a mount point, the root of this mount namespace, and let go of the old one."""
    os.chdir(root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def end_with_parent(signal_number: int) -> None:
    """Ask for this signal when the parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def forbid_new_privileges() -> None:
    """Make set-user-id programs and file capabilities powerless from here on."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def keep_only_capabilities(kept: frozenset[int]) -> None:
    """Drop every other capability from the bounding set; the next exec makes it true."""
    for number in range(64):
        if number not in kept and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break


def raise_interface(name: str, address: str | None = None, netmask: str = "255.255.255.255") -> None:
    """Switch a network interface on, or give it (or its alias, such as ``lo:1``) an IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        if address is not None:
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, netmask)):
                packed = struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, socket.inet_aton(value))
                ioctl(handle, request, packed)
        answer = ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
        flags = struct.unpack_from("H", answer, 16)[0]
        ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))


def add_bridge(name: str) -> None:
    """Make an Ethernet bridge without ports: the one kind of interface that needs no netlink."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        ioctl(handle, _SIOCBRADDBR, name.encode() + b"\0")
