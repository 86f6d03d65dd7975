from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from clary.errors import ConfigError
from clary.runtime import tree

if TYPE_CHECKING:
    from pathlib import Path

_HERE = tree.Target(arch=os.uname().machine)
_OTHER = tree.Target(arch="aarch64" if _HERE.arch == "x86_64" else "x86_64")

linux_only = pytest.mark.skipif(
    sys.platform != "linux" and not os.environ.get("CI"), reason="the client of this machine is not built for Linux"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@linux_only
def test_everything_a_job_imports_is_in_the_tree(home: Path) -> None:
    built = tree.build(_HERE, home)
    names = [
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in built.files
        if path.startswith("clary/")
    ]
    program = (
        "import sys, importlib; sys.path[0] = sys.argv[1]\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "import obstore.store, clary.objects.s3\n"
        "outside = {n for n, m in sys.modules.items() if 'site-packages' in (getattr(m, '__file__', None) or '')}\n"
        "assert not outside, outside\n"
        "assert clary.__file__.startswith(sys.argv[1])\n"
    )
    # -I -S: nothing of this environment is in reach, as in a bare image
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(built.folder), *names],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "clary.runtime.supervisor" in names


@linux_only
def test_the_tree_is_small_and_holds_no_clutter(home: Path) -> None:
    built = tree.build(_HERE, home)

    assert "start.py" in built.files
    assert not [path for path in built.files if path.endswith((".pyc", ".pyi", "py.typed"))]
    assert not [path for path in built.files if "tree.py" in path or "agent" in path]
    assert len(built.files) < 160
    assert built.size < 20_000_000


@linux_only
def test_a_tree_is_built_once(home: Path) -> None:
    first = tree.build(_HERE, home)
    inode = (first.folder / "start.py").stat().st_ino

    again = tree.build(_HERE, home)

    assert again == first
    assert (again.folder / "start.py").stat().st_ino == inode
    assert again.prefix == f"runtime/{first.digest}"
    assert not list((home / "runtime").glob(".building-*"))


@linux_only
def test_a_damaged_tree_is_built_anew(tmp_path: Path) -> None:
    first = tree.build(_HERE, tmp_path)
    (first.folder / "start.py").write_text("")

    again = tree.build(_HERE, tmp_path)

    assert again.digest == first.digest
    assert (again.folder / "start.py").stat().st_size == first.files["start.py"]


@linux_only
def test_another_source_gives_another_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "clary"
    shutil.copytree(tree._PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(tree, "_PACKAGE", package)
    first = tree.build(_HERE, tmp_path / "home")

    (package / "ids.py").write_text("# changed\n")

    assert tree.build(_HERE, tmp_path / "home").digest != first.digest


def _wheel(folder: Path, platform: str) -> None:
    """Make a wheel of the client with no code in it."""
    version = importlib.metadata.version(tree.CLIENT)
    info = f"obstore-{version}.dist-info"
    files = {
        "obstore/__init__.py": "",
        "obstore/store.py": "",
        "obstore/_obstore.abi3.so": "native",
        "obstore/store.pyi": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: obstore\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-abi3-{platform}\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items()
    )
    with zipfile.ZipFile(folder / f"obstore-{version}-cp311-abi3-{platform}.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            wheel.writestr(name, text)


@pytest.fixture
def closed_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as uv's only source of packages."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, value in {
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }.items():
        monkeypatch.setenv(name, value)
    return wheels


@pytest.mark.parametrize(
    ("target", "platform"),
    [
        (_OTHER, f"manylinux_2_17_{_OTHER.arch}"),
        (tree.Target(libc="musl"), "musllinux_1_2_x86_64"),
        (tree.Target(python="3.13", arch="aarch64"), "manylinux_2_28_aarch64"),
    ],
)
def test_the_client_for_another_platform_is_fetched(
    tmp_path: Path, closed_index: Path, target: tree.Target, platform: str
) -> None:
    _wheel(closed_index, platform)

    built = tree.build(target, tmp_path / "home")

    assert built.files["obstore/_obstore.abi3.so"] == len("native")
    assert "obstore/store.pyi" not in built.files


def test_a_client_that_cannot_be_had_is_explained(tmp_path: Path, closed_index: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        tree.build(_OTHER, tmp_path / "home")

    assert caught.value.code == "runtime.client_unavailable"
    assert _OTHER.platform in caught.value.summary
    assert not list((tmp_path / "home" / "runtime").iterdir())
