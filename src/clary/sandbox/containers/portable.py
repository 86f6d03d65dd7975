"""The sandbox's own image as files that can be packed: what of this machine a container of it needs to run Python.

The image itself shows whole folders of this machine. A copy of them would be large, so this takes the interpreter and
the environment without what nobody runs, common programs, and the libraries that all of these are linked with.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import SandboxError
from clary.sandbox.containers.image import ENVIRONMENT, VERSION, place_of

if TYPE_CHECKING:
    from clary.sandbox.containers.image import Image

LAYOUT = 1
"""Grows when the same machine gives other files."""
_PROGRAMS = (
    "awk", "base64", "basename", "bash", "cat", "chmod", "chown", "cmp", "comm", "cp", "cut", "date", "dd", "df",
    "diff", "dirname", "du", "echo", "egrep", "env", "expr", "false", "fgrep", "find", "fold", "getconf", "getent",
    "grep", "gunzip", "gzip", "head", "hostname", "id", "install", "kill", "ls", "ln", "md5sum", "mkdir", "mkfifo",
    "mktemp", "more", "mv", "nice", "nl", "nohup", "nproc", "od", "paste", "pgrep", "pkill", "printenv", "printf",
    "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sh", "sha256sum", "sleep", "sort", "split",
    "stat", "stty", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tty",
    "uname", "uniq", "wc", "which", "whoami", "xargs", "yes", "zcat",
)  # fmt: skip
_COMPANIONS = (
    "libnss_*.so*", "libresolv*.so*", "libm.so*", "libm-*.so", "libmvec.so*", "libpthread*.so*", "libdl*.so*",
    "librt*.so*", "libutil*.so*", "libanl*.so*", "libstdc++.so.6*", "libgcc_s.so.1", "libgomp.so.1*", "libz.so.1*",
)  # fmt: skip
"""Libraries that wheels may expect of every system, whether anything here is linked with them or not (PEP 600)."""
_DATA = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs/ca-bundle.crt", "/usr/lib/ssl",
    "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8", "/etc/ld.so.cache",
)  # fmt: skip
_LEFT_OUT = frozenset(
    {
        "__pycache__", "test", "tests", "idle_test", "site-packages", "dist-packages", "idlelib", "turtledemo",
        "lib2to3", "posix", "right", "private", "EXTERNALLY-MANAGED",
    }
)  # fmt: skip
"""Names that nobody runs, in the interpreter's library and in folders of data."""
_LEFT_OUT_ENDINGS = (".a", ".pyc", ".pyo", ".h")
_BUILD_FOLDER = f"config-{VERSION}"
_LIBRARY = re.compile(r"(/\S+) \(0x[0-9a-f]+\)")
_ELF = b"\x7fELF"
_AT_ONCE = 200
"""Files that are looked at by one call of ldd."""

Files = Mapping[str, Path]
"""Paths inside, without the first slash, and where what is there lies on this machine."""


def parts(image: Image) -> list[Files]:
    """Return the image's files in three parts, from what changes least: system, interpreter, environment."""
    prefix = Path(sys.base_prefix).resolve()
    venv = next(Path(one.source) for one in image.mounts if one.target == ENVIRONMENT)
    environment = {f"{ENVIRONMENT[1:]}/{name}": path for name, path in _tree(venv, frozenset({"__pycache__"}))}
    interpreter = dict(_interpreter(prefix))
    system = dict(_tree(image.root, frozenset()))
    for path in _system([*interpreter.values(), *environment.values()], prefix):
        name = _inside(path, prefix)
        (interpreter if path.is_relative_to(prefix) and place_of(prefix) != str(prefix) else system)[name] = path
    return [{name: path for name, path in system.items() if name not in interpreter}, interpreter, environment]


def link_inside(path: Path) -> str:
    """Return where a link leads as it is to be packed."""
    target = str(path.readlink())
    prefix = Path(sys.base_prefix).resolve()
    return f"/{_inside(Path(target), prefix)}" if target.startswith(f"{prefix}/") else target


def _inside(path: Path, prefix: Path) -> str:
    if path.is_relative_to(prefix):
        return f"{place_of(prefix)}/{path.relative_to(prefix)}".lstrip("/")
    return str(path).lstrip("/")


def _interpreter(prefix: Path) -> Iterator[tuple[str, Path]]:
    """Yield the interpreter's program, shared library and modules."""
    found = [*(prefix / "bin").glob("python3*"), *(prefix / "lib").glob("libpython3*.so*")]
    for path in (*found, prefix / "bin/python"):
        if path.is_symlink() or (path.is_file() and not path.name.endswith("-config")):
            yield _inside(path, prefix), path
    library = prefix / f"lib/python{VERSION}"
    for name, path in _tree(library, _LEFT_OUT):
        if not name.startswith(_BUILD_FOLDER):
            yield _inside(library / name, prefix), path


def _system(files: Iterable[Path], prefix: Path) -> Iterator[Path]:
    """Yield common programs, and the libraries of all that is given."""
    programs = [
        Path(found) for name in _PROGRAMS if (found := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"))
    ]
    libraries = _libraries([*files, *programs], prefix)
    folders = {path.parent for path in libraries if path.name.startswith("libc.")}
    companions = [path for folder in folders for pattern in _COMPANIONS for path in folder.glob(pattern)]
    for path in (*programs, *libraries, *companions, *(Path(one) for one in _DATA)):
        if path.is_dir() and not path.is_symlink():
            yield from (inner for _, inner in _tree(path, _LEFT_OUT))
        elif path.exists():
            yield from _chain(path)


def _chain(path: Path) -> Iterator[Path]:
    """Yield a file by its place in the system, and every link on the way to it."""
    for _ in range(40):
        path = path.parent.resolve() / path.name
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _libraries(files: Iterable[Path], prefix: Path) -> set[Path]:
    """Return the libraries that programs and libraries are linked with."""
    linked = sorted({str(path) for path in files if _is_elf(path)})
    program = shutil.which("ldd")
    if program is None:
        raise SandboxError(
            "sandbox.image_failed",
            "The sandbox's own image cannot be packed: this machine has no ldd, which tells what a program needs.",
            next_step="Install the package that has ldd (libc-bin on Debian), or build on another base.",
        )
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LD_LIBRARY_PATH": str(prefix / "lib")}
    found: set[Path] = set()
    for start in range(0, len(linked), _AT_ONCE):
        words = [program, *linked[start : start + _AT_ONCE]]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        found |= {Path(path) for path in _LIBRARY.findall(done.stdout)}
    return found


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _tree(root: Path, left_out: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """Yield everything below a folder by its path there, empty folders too."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out]
        for name in (*folders, *files):
            path = Path(folder, name)
            if name not in left_out and not name.endswith(_LEFT_OUT_ENDINGS):
                yield str(path.relative_to(root)), path
