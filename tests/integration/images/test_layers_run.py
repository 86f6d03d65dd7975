"""Layers of real wheels on a base, unpacked by umoci and run: what pip and uv promise of an environment holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tiny_base
from clary.images import added
from clary.images.building import CODE, Layer, Wheel
from clary.images.layers.cache import LocalCache
from clary.images.layers.making import files_layer, rest_layer
from clary.images.layers.packages import package_layers
from clary.images.layers.splitting import split
from clary.images.layers.venv import Venv
from clary.images.oci import Changes, config_of, manifest_of
from unpacked import unpacked
from wheel_maker import wheel_of

PACKAGES = ["numpy", "requests", "jmespath", "ruff", "setuptools"]
"""A large one, one that needs others, one with a script, one with a program as a script, one with a ``.pth`` file."""
PYTHON = "/opt/clary/venv/bin/python"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Unpacked:
    """An image that was built, converted, and unpacked."""

    root: Path
    layers: list[Layer]

    def run(self, *command: str) -> str:
        """Run something in it, with next to no environment; return what it prints."""
        into = ["chroot", str(self.root)] if os.geteuid() == 0 else ["unshare", "-r", "chroot", str(self.root)]
        environment = {"PATH": "/opt/clary/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}
        done = subprocess.run([*into, *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def python(self, code: str) -> str:
        """Run Python code in its environment."""
        return self.run("python", "-c", code)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Wheel]:
    """Real wheels from the package index, with what they need, and pip."""
    folder = tmp_path_factory.mktemp("wheels")
    _uv("tool", "run", "--python", sys.executable, "pip", "download", "--quiet", "--only-binary", ":all:",
        "--dest", str(folder), *PACKAGES, "pip")  # fmt: skip
    return [wheel_of(path, *path.name.split("-")[:2]) for path in sorted(folder.glob("*.whl"))]


@pytest.fixture(scope="module")
def image(wheels: list[Wheel], tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    for tool in ("skopeo", "umoci"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    folder = tmp_path_factory.mktemp("image")
    pip = next(wheel.path for wheel in wheels if wheel.name == "pip")
    base = tiny_base.make_layer(tiny_base.make_root(folder / "root", pip), folder / "base.tar.gz")
    code = folder / "project/run.py"
    code.parent.mkdir()
    code.touch(0o755)
    code.write_text("#!/opt/clary/venv/bin/python\nimport numpy\nprint(numpy.ones(3).sum())\n")
    venv = Venv(tiny_base.python())
    chosen = [wheel for wheel in wheels if wheel.name != "pip"]
    with LocalCache(folder / "cache").use() as use:
        layers = package_layers(split(chosen), venv, use, lambda wanted: {one: _path(one) for one in wanted})
        layers.append(files_layer(added.code(code.parent, folder / "code").files, folder / "code.tar.gz"))
        config = config_of(tiny_base.make_config(base), [layer.diff_id for layer in layers], Changes())
        manifest = manifest_of(config, [layer.descriptor for layer in (base, *layers)])
        source = tiny_base.write_image(folder / "source", [base, *layers], config, manifest)
        _run("skopeo", "--insecure-policy", "copy", "--quiet", f"dir:{source}", f"oci:{folder}/oci:image")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    _run("umoci", "unpack", *rootless, "--image", f"{folder}/oci:image", str(folder / "bundle"))
    return Unpacked(folder / "bundle/rootfs", layers)


def _path(wheel: Wheel) -> Path:
    assert wheel.path is not None
    return wheel.path


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin

    _run(find_uv_bin(), *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_can_be_imported(image: Unpacked) -> None:
    code = "import numpy, requests, jmespath, setuptools; print(numpy.linalg.det(numpy.eye(2)), requests.codes.ok)"

    assert image.python(code) == "1.0 200"


def test_it_is_a_virtual_environment(image: Unpacked) -> None:
    told = json.loads(
        image.python(
            "import json, sys, site; print(json.dumps([sys.prefix, sys.base_prefix, sys.executable, sys.path]))"
        )
    )

    assert told[:3] == ["/opt/clary/venv", "/usr/local", PYTHON]
    site = f"/opt/clary/venv/lib/python{tiny_base.VERSION}/site-packages"
    assert site in told[3]
    assert not any(path.startswith("/usr/local") and "packages" in path for path in told[3])
    assert image.run("python3", "-c", "import sys; print(sys.prefix)") == "/opt/clary/venv"
    assert image.run(f"python{tiny_base.VERSION}", "-c", "import sys; print(sys.prefix)") == "/opt/clary/venv"


def test_programs_run(image: Unpacked) -> None:
    assert image.run("normalizer", "--version").startswith("Charset-Normalizer")
    assert image.run("numpy-config", "--version")[0].isdigit()
    assert image.run("ruff", "--version").startswith("ruff")
    assert image.run("jp.py", "--help").startswith("usage: jp.py")
    for name in ("normalizer", "jp.py"):
        assert (image.root / f"opt/clary/venv/bin/{name}").read_text().startswith(f"#!{PYTHON}\n")


def test_path_files_are_obeyed(image: Unpacked) -> None:
    assert image.python("import sys; print('_distutils_hack' in sys.modules)") == "True"


def test_the_code_runs(image: Unpacked) -> None:
    assert image.run(f"{CODE}/run.py") == "3.0"


def test_what_is_recorded_is_there(image: Unpacked) -> None:
    """Every file that an installed package names exists, with the size and digest that are recorded."""
    told = image.python(
        """
import base64, hashlib, importlib.metadata as metadata, json
counts = {}
for found in metadata.distributions(path=[p for p in __import__("sys").path if "site-packages" in p]):
    for file in found.files:
        data = file.locate().read_bytes()
        if file.name == "RECORD":
            continue
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, data).digest()).decode().rstrip("=")
        assert digest == file.hash.value and len(data) == file.size, file
    assert found.read_text("INSTALLER") == "clary\\n"
    counts[found.metadata["Name"]] = len(found.files)
print(json.dumps(counts))
"""
    )

    counts = json.loads(told)
    assert counts["numpy"] > 500
    assert {name.lower() for name in counts} >= {*PACKAGES, "charset-normalizer", "idna", "certifi", "urllib3"}


def test_pip_lists_and_checks_it(image: Unpacked, wheels: list[Wheel]) -> None:
    pip = (f"/usr/local/bin/python{tiny_base.VERSION}", "-m", "pip", "--python", PYTHON)

    listed = json.loads(image.run(*pip, "list", "--format", "json", "--disable-pip-version-check"))
    image.run(*pip, "check", "--disable-pip-version-check")

    expected = {wheel.name.replace("_", "-"): wheel.version for wheel in wheels if wheel.name != "pip"}
    assert {entry["name"].lower(): entry["version"] for entry in listed} == expected


def test_what_lies_beside_the_interpreter_is_hidden(image: Unpacked) -> None:
    assert image.python("import importlib.util; print(importlib.util.find_spec('pip'))") == "None"


def test_an_environment_may_see_what_lies_beside_the_interpreter(image: Unpacked, tmp_path: Path) -> None:
    venv = Venv(tiny_base.python(), system_packages=True, prefix="/srv/open")
    made = rest_layer([], venv, tmp_path / "layer")
    _run("tar", "-xzf", str(made.layer.path), "-C", str(image.root))

    code = "import pip, sys; print(sys.prefix, pip.__file__.partition('/lib/')[0])"

    assert image.run("/srv/open/bin/python", "-c", code) == "/srv/open /usr/local"


def test_layers_are_as_described(image: Unpacked) -> None:
    own = [layer.name.split()[0] for layer in image.layers]
    assert own[:2] == ["numpy", "ruff"]
    for layer in image.layers:
        unpacked(layer)


def test_gzip_and_tar_of_gnu_agree(image: Unpacked) -> None:
    for layer in image.layers:
        with layer.path.open("rb") as file:
            subprocess.run(["gzip", "-t"], stdin=file, check=True)
        listed = _run("tar", "-tzf", str(layer.path)).splitlines()
        assert len(listed) == len(set(listed)) > 1
