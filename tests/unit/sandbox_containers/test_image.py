"""The sandbox's own image: its name, its content, and how it is made."""

from __future__ import annotations

import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.errors import SandboxError
from clary.sandbox.containers.image import SandboxImages, ensure_image, image_reference
from clary.sandbox.model import ImageNotFound

if TYPE_CHECKING:
    from clary.sandbox.containers.namespaces import Mode
    from unit.sandbox_containers.conftest import Machine

_X_Y = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("region", "suffix"),
    [("us-east-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn"), ("eusc-de-east-1", "amazonaws.eu")],
)
def test_the_name_is_as_on_aws(region: str, suffix: str) -> None:
    name = f"123456789012.dkr.ecr.{region}.{suffix}/clary-sandbox/python:{_X_Y}"
    assert image_reference("123456789012", region) == name


def test_other_names_are_not_found(tmp_path: Path) -> None:
    source = SandboxImages(tmp_path, "123456789012")
    own = image_reference("123456789012", "eu-west-1")
    for name in (own.replace("123456789012", "210987654321"), own.replace(_X_Y, "2.7"), own + ".cn", "python:3.11"):
        with pytest.raises(ImageNotFound, match="clary-sandbox/python"):
            source.resolve(name)
    assert source.resolve(own).reference == own


def test_it_is_made_once_also_by_several_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: ensure_image(tmp_path), range(3)))
    assert made[0] == made[1] == made[2]
    (folder,) = (tmp_path / "images").iterdir()
    assert folder == made[0].root.parent
    before = folder.stat().st_mtime_ns
    assert ensure_image(tmp_path) == made[0]
    assert folder.stat().st_mtime_ns == before


def test_the_data_folder_is_hidden_when_it_lies_in_the_system() -> None:
    from clary.sandbox.containers.image import _hidden
    from clary.sandbox.containers.plan import Mount

    hidden = set(_hidden(Path("/usr/share/clary"), [Mount("/usr", "/usr", layered=True), Mount("/etc/x", "/etc/x")]))
    assert {"/usr/share/clary"} <= hidden


def test_the_root_holds_no_file_of_the_host(tmp_path: Path) -> None:
    root = ensure_image(tmp_path).root
    etc = {str(path.relative_to(root)) for path in root.glob("etc/*") if path.stat().st_size and path.is_file()}
    assert etc == {"etc/passwd", "etc/group", "etc/nsswitch.conf"}
    assert [list((root / place).iterdir()) for place in ("root", "home", "tmp", "var/tmp")] == [[]] * 4


@pytest.mark.namespaces
def test_requirements_are_installed(tmp_path: Path, mode: Mode, make_machine: object) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "where = __file__\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
        archive.writestr("tiny-1.0.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
    image = ensure_image(tmp_path, [f"tiny @ file://{wheel}"])
    assert image.root != ensure_image(tmp_path).root
    machine: Machine = make_machine(mode, of=image)  # type: ignore[operator]
    place = f"/opt/venv/lib/python{_X_Y}/site-packages/tiny.py"
    assert machine.run("import tiny; print(tiny.where)") == (0, f"{place}\n")


def test_requirements_that_cannot_be_installed_are_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="uv could not make") as error:
        ensure_image(tmp_path, [f"tiny @ file://{tmp_path}/no-such-1.0-py3-none-any.whl"])
    assert error.value.code == "sandbox.image_failed"
    assert list((tmp_path / "images").iterdir()) == []
