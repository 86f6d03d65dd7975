"""In a chroot the root is no mount point; containers must start all the same (a fresh machine made by debootstrap)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import errno, os, sys
from pathlib import Path
from clary.sandbox.containers import root, syscalls

base = Path(sys.argv[1])
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("proc", str(base / "proc"), "proc")
os.chroot(base)
os.chdir("/")
try:
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
except OSError as error:
    assert error.errno == errno.EINVAL
else:
    raise SystemExit("the trial proves nothing: this root is a mount point")
root._own_mounts(Path("/scratch"))
assert sorted(os.listdir("/")) == ["marker", "proc", "scratch"], os.listdir("/")
tops = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == "/"]
assert tops and not any(word.startswith("shared:") for top in tops for word in top), tops
syscalls.mount("tmpfs", "/scratch", "tmpfs")
syscalls.pivot_into("/scratch")
assert os.listdir("/") == []
print("at home")
"""


def test_a_chroot_gets_mounts_of_its_own(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        assert not os.environ.get("CI"), "CI must run this test as root"
        pytest.skip("only root can make a chroot")
    for name in ("proc", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "marker").touch()
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("at home\n", "")
