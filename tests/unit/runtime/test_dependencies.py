"""Packages that travel beside the code: unpacked, entered, and refused where they are not what they should be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ConfigError
from clary.images.building import VENV, Python
from clary.images.layers.making import rest_layer, wheel_layer
from clary.images.layers.venv import Venv
from clary.runtime import dependencies
from wheel_maker import Draft

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """An /opt/ml whose channel holds two packages in two layers."""
    channel = tmp_path / "ml/input/data/dependencies"
    channel.mkdir(parents=True)
    venv = Venv(Python(VERSION, HERE))
    one = Draft("one", files={"one.py": b"VALUE = 1\n"}).write(tmp_path)
    two = Draft("two", files={"two.py": b"import one\nVALUE = one.VALUE + 1\n"}).write(tmp_path)
    layers = [wheel_layer(one, venv, tmp_path / "1").layer, rest_layer([two], venv, tmp_path / "2").layer]
    for layer in layers:
        layer.path.rename(channel / f"{layer.digest.removeprefix('sha256:')}.tar.gz")
    listing = {
        "digest": "d1",
        "root": "/opt/clary",
        "venv": VENV,
        "python": VERSION,
        "layers": [layer.digest.removeprefix("sha256:") for layer in layers],
    }
    (channel / "d1.packages.json").write_text(json.dumps(listing))
    return tmp_path / "ml"


def entered(job: Path, root: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from pathlib import Path; from clary.runtime import dependencies; "
        f"dependencies.enter(Path({str(job)!r}), ['-c', {code!r}], Path({str(root)!r})); print('not entered')"
    )
    environment = {"PYTHONPATH": str(Path(dependencies.__file__).parents[2]), "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)


def listing_of(job: Path) -> tuple[Path, dict[str, Any]]:
    (file,) = job.glob("input/data/dependencies/*.json")
    return file, json.loads(file.read_text())


def test_the_process_goes_on_among_the_packages(job: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = (
        "import os, sys, shutil, two; "
        "print(two.VALUE, sys.prefix, os.environ['CLARY_DEPENDENCIES'], shutil.which('python3'))"
    )
    done = entered(job, root, code)
    venv = f"{root}{VENV}"
    assert done.stdout.split() == ["2", venv, "d1", f"{venv}/bin/python3"], done.stderr


def test_a_container_that_starts_again_unpacks_nothing(job: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert entered(job, root, "").returncode == 0
    for file in (job / "input/data/dependencies").glob("*.tar.gz"):
        file.write_bytes(b"")
    assert entered(job, root, "import two; print(two.VALUE)").stdout == "2\n"


def test_without_a_channel_nothing_happens(tmp_path: Path) -> None:
    assert entered(tmp_path / "ml", tmp_path, "print(1)").stdout == "not entered\n"


def broken_digest(job: Path) -> None:
    file = next((job / "input/data/dependencies").glob("*.tar.gz"))
    file.write_bytes(file.read_bytes() + b"x")


def missing_layer(job: Path) -> None:
    next((job / "input/data/dependencies").glob("*.tar.gz")).unlink()


def no_listing(job: Path) -> None:
    listing_of(job)[0].unlink()


def no_json(job: Path) -> None:
    listing_of(job)[0].write_text("{")


def other_python(job: Path) -> None:
    file, listing = listing_of(job)
    file.write_text(json.dumps({**listing, "python": "3.99"}))


def escape(name: str, kind: bytes = tarfile.REGTYPE) -> Callable[[Path], None]:
    def act(job: Path) -> None:
        import hashlib

        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO())
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        file, listing = listing_of(job)
        (file.parent / f"{digest}.tar.gz").write_bytes(packed.getvalue())
        file.write_text(json.dumps({**listing, "layers": [digest]}))

    return act


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (broken_digest, "job.dependencies_damaged"),
        (missing_layer, "job.dependencies_unusable"),
        (no_listing, "job.dependencies_damaged"),
        (no_json, "job.dependencies_damaged"),
        (other_python, "job.dependencies_unusable"),
        (escape("etc/passwd"), "job.dependencies_damaged"),
        (escape("opt/clary/../../etc/x"), "job.dependencies_damaged"),
        (escape("opt/clary/venv/x", tarfile.LNKTYPE), "job.dependencies_damaged"),
        (escape("opt/clary/venv/x", tarfile.CHRTYPE), "job.dependencies_damaged"),
    ],
)
def test_what_cannot_be_used_is_told(job: Path, tmp_path: Path, damage: Callable[[Path], None], code: str) -> None:
    damage(job)
    with pytest.raises(ConfigError) as caught:
        dependencies.enter(job, [], tmp_path / "root")
    assert caught.value.code == code
    assert caught.value.next_step
    assert not (tmp_path / "root/etc").exists()
