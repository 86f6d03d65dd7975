from __future__ import annotations

from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.images.building import Python
from clary.images.layers.venv import Venv
from clary.images.wheels.placing import Placed, check_together, place
from clary.images.wheels.problems import Problem
from clary.images.wheels.reader import WheelFile
from wheel_maker import Draft, demo

VENV = Venv(Python("3.12", "/usr/local/bin/python3.12"))
SITE = "lib/python3.12/site-packages"


def _place(draft: Draft, folder: Path) -> dict[str, Placed]:
    wheel = draft.write(folder)
    assert wheel.path is not None
    source = WheelFile(wheel.path, wheel.filename)
    placed = place(source.metadata, source.entries, source.python_scripts(), VENV)
    assert [one.path for one in placed] == sorted(one.path for one in placed)
    return {one.path: one for one in placed}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("demo/x.py", f"{SITE}/demo/x.py"),
        ("top.pth", f"{SITE}/top.pth"),
        ("demo-1.0.data/purelib/demo/x.py", f"{SITE}/demo/x.py"),
        ("demo-1.0.data/platlib/demo/x.so", f"{SITE}/demo/x.so"),
        ("demo-1.0.data/scripts/tool", "bin/tool"),
        ("demo-1.0.data/headers/x.h", "include/site/python3.12/demo/x.h"),
        ("demo-1.0.data/data/share/x", "share/x"),
        ("demo-1.0.data/data/lib64/x.so", "lib/x.so"),
        ("demo-1.0.datafile", f"{SITE}/demo-1.0.datafile"),
        ("other-1.0.data/scripts/tool", f"{SITE}/other-1.0.data/scripts/tool"),
    ],
)
def test_where_files_go(tmp_path: Path, name: str, path: str) -> None:
    placed = _place(demo(files={name: b"content"}), tmp_path)

    assert path in placed
    assert placed[path].executable == (path == "bin/tool")


@pytest.mark.parametrize(
    "name",
    [
        "demo-1.0.data/scripts/python",
        "demo-1.0.data/scripts/python3.12",
        "demo-1.0.data/data/pyvenv.cfg",
        "demo-1.0.data/data/lib64",
        "demo-1.0.data/data/bin/python3/x",
        "demo-1.0.data/data/lib",
        "demo-1.0.data/elsewhere/x",
        "demo-1.0.data/x",
    ],
)
def test_refuses_places_of_the_environment_itself(tmp_path: Path, name: str) -> None:
    with pytest.raises(Problem):
        _place(demo(files={name: b""}), tmp_path)


def test_a_program_cannot_be_the_interpreter(tmp_path: Path) -> None:
    points = {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\npython = demo:run\n"}

    with pytest.raises(Problem, match="own"):
        _place(demo(files=points), tmp_path)


def test_makes_programs(tmp_path: Path) -> None:
    points = b"[console_scripts]\ntool = demo.main:App.run [extra]\n[gui_scripts]\nshow=demo:go\n[other]\nx = y\n"
    placed = _place(demo(files={"demo-1.0.dist-info/entry_points.txt": points}), tmp_path)

    tool, show = placed["bin/tool"], placed["bin/show"]
    assert isinstance(tool.source, bytes)
    assert tool.source.startswith(b"#!/opt/clary/venv/bin/python\n")
    assert b"from demo.main import App" in tool.source
    assert b"sys.exit(App.run())" in tool.source
    assert tool.executable
    assert show.executable


@pytest.mark.parametrize(
    ("script", "first"),
    [
        (b"#!python\nrest\n", b"#!/opt/clary/venv/bin/python\nrest\n"),
        (b"#!pythonw -E\nrest\n", b"#!/opt/clary/venv/bin/python\nrest\n"),
        (b"#!python", b"#!/opt/clary/venv/bin/python\n"),
    ],
)
def test_scripts_get_the_interpreter(tmp_path: Path, script: bytes, first: bytes) -> None:
    placed = _place(demo(files={"demo-1.0.data/scripts/x": script}), tmp_path)

    assert placed["bin/x"].source == first


def test_other_scripts_stay_as_they_are(tmp_path: Path) -> None:
    placed = _place(demo(files={"demo-1.0.data/scripts/x": b"#!/usr/bin/env python\n"}), tmp_path)

    assert not isinstance(placed["bin/x"].source, bytes)


def test_the_zip_files_mode_decides_elsewhere(tmp_path: Path) -> None:
    files = {"demo/run": b"", "demo/data": b"", "demo/odd": b""}
    modes = {"demo/run": 0o100755, "demo/data": 0o100644, "demo/odd": 0o755}
    placed = _place(demo(files=files, modes=modes), tmp_path)

    assert [one.path.rpartition("/")[2] for one in placed.values() if one.executable] == ["run"]


def test_what_installers_write_is_replaced(tmp_path: Path) -> None:
    info = "demo-1.0.dist-info"
    named = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s", "licenses/LICENSE")
    files = {f"{info}/{name}": b"theirs" for name in named}
    placed = _place(
        demo(files={**files, "demo/__pycache__/x.pyc": b"", "demo/y.pyc": b"", "d/__pycache__": b""}), tmp_path
    )

    inner = sorted(path.removeprefix(f"{SITE}/") for path in placed)
    assert inner == [
        "d/__pycache__",
        *(f"{info}/{name}" for name in ("INSTALLER", "METADATA", "RECORD", "WHEEL", "licenses/LICENSE")),
        "demo/y.pyc",
    ]
    assert placed[f"{SITE}/{info}/INSTALLER"].source == b"clary\n"


def test_refuses_two_files_for_one_place(tmp_path: Path) -> None:
    twice = {"demo/x": b"1", "demo-1.0.data/purelib/demo/x": b"2"}

    with pytest.raises(Problem, match="same place"):
        _place(demo(files=twice), tmp_path)


def test_one_content_twice_is_one_file(tmp_path: Path) -> None:
    placed = _place(demo(files={"demo/x": b"1", "demo-1.0.data/purelib/demo/x": b"1"}), tmp_path)

    assert f"{SITE}/demo/x" in placed


def test_packages_that_get_along() -> None:
    check_together([("a 1", {"ns/__init__.py": "sha256=x", "ns/a.py": "1"}), ("b 1", {"ns/__init__.py": "sha256=x"})])


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ({"x.py": "1"}, {"x.py": "2"}, "x.py"),
        ({"x": "1"}, {"x/y.py": "1"}, "x"),
        ({"x/y/z": "1"}, {"x/y": "1"}, "x/y"),
    ],
)
def test_packages_that_clash(one: dict[str, str], other: dict[str, str], path: str) -> None:
    with pytest.raises(ConfigError, match=r"one 1 and other 2|other 2 and one 1") as caught:
        check_together([("one 1", one), ("other 2", other)])

    assert caught.value.code == "image.wheels_clash"
    assert caught.value.details["path"] == path
