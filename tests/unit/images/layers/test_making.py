from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from clary.code.archive import content_digest
from clary.errors import ConfigError, UsageError
from clary.image import Image
from clary.images import added
from clary.images.added import AddedFile
from clary.images.building import Python
from clary.images.layers.making import files_layer, rest_layer, wheel_layer
from clary.images.layers.venv import Venv
from unpacked import BIN, SITE, check_record, unpacked
from wheel_maker import Draft, changed, demo

VENV = Venv(Python("3.11", "/usr/local/bin/python3.11"))
INFO = "demo-1.0.dist-info"


def chosen(place: str, source: Path) -> AddedFile:
    """Return a file as it is chosen for an image."""
    return AddedFile(place, source, content_digest(source))


@pytest.mark.parametrize("changes", [{}, {"stored": ("demo/big.bin",)}, {"zip64": True}, {"descriptors": True}])
def test_a_wheels_layer(tmp_path: Path, changes: dict[str, object]) -> None:
    draft = demo(**changes)

    made = wheel_layer(draft.write(tmp_path), VENV, tmp_path / "layer")

    found = unpacked(made.layer)
    for name, data in draft.files.items():
        assert found.files[f"{SITE}/{name}"] == data
    listed = check_record(found, INFO)
    assert set(listed) == set(found.files)
    assert f"{BIN}/demo" in listed
    assert found.files[f"{SITE}/{INFO}/INSTALLER"] == b"clary\n"
    assert not found.links
    assert made.layer.name == "demo 1.0"
    assert made.layer.path == tmp_path / "layer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-1.0-py3-none-any.whl", "layer"]


def test_large_files_are_not_compressed_again(tmp_path: Path) -> None:
    wheel = demo(level=1).write(tmp_path)
    made = wheel_layer(wheel, VENV, tmp_path / "layer")
    assert wheel.path is not None

    data, layer = wheel.path.read_bytes(), made.layer.path.read_bytes()

    start = data.index(b"demo/big.bin") + len("demo/big.bin")
    assert data[start : start + 20_000] in layer


def test_the_environment(tmp_path: Path) -> None:
    made = rest_layer([], VENV, tmp_path / "layer")

    found, top = unpacked(made.layer), "opt/clary/venv"
    assert found.links == {
        f"{top}/bin/python": "/usr/local/bin/python3.11",
        f"{top}/bin/python3": "python",
        f"{top}/bin/python3.11": "python",
        f"{top}/lib64": "lib",
    }
    assert found.files == {f"{top}/pyvenv.cfg": VENV.settings}
    assert SITE in found.names
    assert b"home = /usr/local/bin\n" in VENV.settings
    assert b"include-system-site-packages = false\n" in VENV.settings


def test_the_environment_may_see_the_systems_packages() -> None:
    venv = Venv(Python("3.11", "/opt/conda/bin/python3.11"), system_packages=True)

    assert b"include-system-site-packages = true\n" in venv.settings


def test_many_wheels_in_one_layer(tmp_path: Path) -> None:
    shared = {"ns/__init__.py": b"# shared\n"}
    wheels = [Draft(name=name, files={**shared, f"ns/{name}.py": b""}).write(tmp_path) for name in ("beta", "alpha")]

    made = rest_layer(wheels, VENV, tmp_path / "one")
    again = rest_layer(wheels[::-1], VENV, tmp_path / "two")

    found = unpacked(made.layer)
    assert made.layer.digest == again.layer.digest
    assert made.layer.name == "2 packages"
    assert {f"{SITE}/ns/{name}.py" for name in ("alpha", "beta", "__init__")} <= set(found.files)
    for name in ("alpha", "beta"):
        assert f"{SITE}/ns/__init__.py" in check_record(found, f"{name}-1.0.dist-info")


def test_wheels_that_clash_are_named(tmp_path: Path) -> None:
    wheels = [Draft(name=name, files={"tests/x.py": name.encode()}).write(tmp_path) for name in ("alpha", "beta")]

    with pytest.raises(ConfigError, match=r"alpha 1.0 and beta 1.0") as caught:
        rest_layer(wheels, VENV, tmp_path / "layer")

    assert caught.value.code == "image.wheels_clash"


def test_a_bad_wheel_among_many_is_the_one_named(tmp_path: Path) -> None:
    good = [Draft(name=name).write(tmp_path) for name in ("alpha", "zeta")]
    broken = changed(
        Draft(name="mid", files={"mid/x": b"z" * 100}, stored=["mid/x"]).write(tmp_path),
        lambda data: data.replace(b"z" * 100, b"y" * 100),
    )

    with pytest.raises(ConfigError, match=r"mid-1.0-py3-none-any.whl .'mid/x'. .*CRC") as caught:
        rest_layer([good[0], broken, good[1]], VENV, tmp_path / "layer")

    assert caught.value.code == "image.bad_wheel"
    assert not (tmp_path / "layer").exists()
    assert not list(tmp_path.glob(".layer*"))


_BUILD = """
import os, sys
from pathlib import Path
from clary.code.archive import content_digest
from clary.images.added import AddedFile
from clary.images.building import Python, Wheel
from clary.images.layers.making import files_layer, rest_layer, wheel_layer
from clary.images.layers.venv import Venv
folder, mask, user = Path(sys.argv[1]), int(sys.argv[2], 8), int(sys.argv[3])
venv = Venv(Python("3.11", "/usr/bin/python3.11"))
wheels = [Wheel(p.name.split("-")[0], "1.0", p.name, "", 0, path=p) for p in folder.glob("*.whl")]
wheel_layer(wheels[0], venv, folder / "first")  # all modules are loaded: the interpreter may lie out of others' reach
os.umask(mask)
if os.getuid() == 0:
    for path in (folder, *folder.iterdir()):
        os.chown(path, user, 0)
    os.setuid(user)
layers = [wheel_layer(wheels[0], venv, folder / "a").layer, rest_layer(wheels, venv, folder / "b").layer]
x = folder / "x"
files = [AddedFile("/srv/\\u00fc/x", x, content_digest(x)), AddedFile("/srv/run", x, content_digest(x), True)]
layers.append(files_layer(files, folder / "c"))
print(*(f"{one.digest} {one.diff_id}" for one in layers))
"""


def test_the_same_bytes_wherever_and_whoever() -> None:
    ways = [("a", "022", "0", "UTC", "C", "0"), ("bb", "077", "65534", "Asia/Tokyo", "C.UTF-8", "1")]

    told = []
    for name, mask, user, zone, locale, seed in ways:
        with tempfile.TemporaryDirectory(prefix=name) as folder:
            demo().write(Path(folder))
            Path(folder, "x").write_text("content")
            environment = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONHASHSEED": seed}
            command = [sys.executable, "-c", _BUILD, folder, mask, user]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            told.append(done.stdout)

    assert told[0] == told[1]
    assert told[0].count("sha256:") == 6


def test_files_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "p/sub").mkdir(parents=True)
    (tmp_path / "p/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "p/sub/data").write_bytes(b"d" * 100_000)
    (tmp_path / "p/sub/link").symlink_to("../run.sh")
    (tmp_path / "p/folder").symlink_to(tmp_path / "p/sub")
    (tmp_path / "p/run.sh").chmod(0o700)
    (tmp_path / "p/sub/data").chmod(0o600)
    (tmp_path / "x").write_bytes(b"")
    code = added.code(tmp_path / "p", tmp_path / "cache")

    layer = files_layer([*code.files, chosen("/tmp/x", tmp_path / "x")], tmp_path / "layer")

    found = unpacked(layer)
    assert found.files == {
        "opt/clary/code/run.sh": b"#!/bin/sh\n",
        "opt/clary/code/sub/data": b"d" * 100_000,
        "tmp/x": b"",
    }
    assert found.links == {"opt/clary/code/sub/link": "../run.sh", "opt/clary/code/folder": "sub"}
    assert found.entries["opt/clary/code/run.sh"].mode == 0o755
    assert found.entries["tmp"].mode == 0o1777
    assert layer.name == "code"


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../outside", "../../../etc", "gone/../../../x", "through/secret"]
)
def test_links_that_lead_out_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "project/p").mkdir(parents=True)
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "project/p/file").touch()
    (tmp_path / "project/p/through").symlink_to(tmp_path)
    (tmp_path / "project/p/link").symlink_to(target)

    with pytest.raises(UsageError) as caught:
        added.copies(Image(copy={"p": "/srv/p"}), tmp_path / "project", tmp_path / "cache")

    assert caught.value.code == "code.link_outside"


@pytest.mark.parametrize(
    "path",
    [
        "relative",
        "/",
        "/a/../b",
        "/a//b",
        "/bin/tool",
        "/lib",
        "/var/run/x",
        "/opt/ml/code/x",
        "/proc/x",
        "/a\nb",
        "/\udcff",
    ],
)
def test_refuses_places(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files_layer([AddedFile(path, tmp_path, "")], tmp_path / "layer")

    assert caught.value.code == "image.bad_place"


@pytest.mark.parametrize("paths", [("/srv/x", "/srv/x"), ("/srv/x", "/srv/x/y"), ("/srv/x/y/z", "/srv/x")])
def test_refuses_files_at_one_place(tmp_path: Path, paths: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        files_layer([AddedFile(path, tmp_path, "") for path in paths], tmp_path / "layer")

    assert caught.value.code == "image.copy_clash"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_refuses_what_is_no_file(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "folder":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)

    with pytest.raises(ConfigError) as caught:
        files_layer([AddedFile("/srv/x", source, "")], tmp_path / "layer")

    assert caught.value.code == "image.unreadable"


@pytest.mark.parametrize("content", [b"", b"longer than before", b"behind"])
def test_a_file_that_changes_meanwhile(tmp_path: Path, content: bytes) -> None:
    from clary.images.layers.assembling import write_layer
    from clary.images.layers.copying import parts_of

    source = tmp_path / "source"
    source.write_bytes(b"before")
    parts = parts_of([chosen("/srv/x", source)])
    source.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        write_layer(parts, tmp_path / "layer", "code")

    assert caught.value.code == "image.copy_changed"
    assert not list(tmp_path.glob("*layer*"))
