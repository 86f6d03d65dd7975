"""Packages that come as source: archives, folders and git repositories become wheels, by the real uv and git."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import package_index
from clary.errors import ClaryError
from clary.images.building import Python, Quiet
from clary.images.packages import fetching, locking, pylocks, sources, store
from package_index import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clary.images.packages.locking import Lock

_PYTHON = Python("3.13", "/usr/bin/python3", libc_version=(2, 36))


class Stages(Quiet):
    """Remembers what was done."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def stage(self, text: str) -> None:
        self.texts.append(text)


class Bench:
    def __init__(self, folder: Path, index: PackageIndex) -> None:
        self.folder = folder
        self.index = index
        self.environment = package_index.environment(index, folder / "home")
        self.stages = Stages()

    def lock(self, *said: str, cache: str = "cache", **more: Any) -> Lock:
        source = sources.read(list(said), self.folder)
        assert source is not None
        settings: dict[str, Any] = {"torch": None, "environment": self.environment, "progress": self.stages, **more}
        return locking.lock(source, _PYTHON, cache=self.folder / cache, **settings)

    def refused(self, *said: str) -> ClaryError:
        with pytest.raises(ClaryError) as caught:
            self.lock(*said)
        return caught.value

    def lay(self, place: str, name: str, **said: Any) -> Path:
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in package_index.project(name, **said).items():
            (folder / path).write_bytes(data)
        return folder

    def git(self, folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with package_index.serving() as index:
        yield Bench(tmp_path, index)


def test_an_archive_becomes_a_wheel_in_the_store(bench: Bench) -> None:
    bench.index.add_sdist("pure", requires=["low"])
    bench.index.add_wheel("low")

    lock = bench.lock("pure")
    again = pylocks.wheels_of(lock.text)
    kept = store.wheel_store(bench.folder / "cache")
    found = fetching.fetch(again, kept, environment=bench.environment, progress=Quiet())

    assert [wheel.filename for wheel in again] == ["low-1.0-py3-none-any.whl", "pure-1.0-py3-none-any.whl"]
    assert again[1].url is None
    with zipfile.ZipFile(found[again[1]]) as archive:
        assert b"VERSION = '1.0'" in archive.read("pure.py")


def test_a_source_is_built_once_and_the_same_each_time(bench: Bench) -> None:
    bench.index.add_sdist("pure")

    first = bench.lock("pure")
    second = bench.lock("pure", upgrade=True)
    other_machine = bench.lock("pure", cache="other")

    assert bench.stages.texts.count("building a wheel of pure") == 2
    assert first.text == second.text == other_machine.text


def test_a_built_wheel_that_has_gone_is_built_again(bench: Bench) -> None:
    bench.index.add_sdist("pure")
    first = bench.lock("pure")
    assert first.wheels[0].path is not None
    first.wheels[0].path.unlink()

    assert bench.lock("pure") == first
    assert first.wheels[0].path.is_file()


def test_a_folder_becomes_a_wheel_and_stays_as_it_was(bench: Bench) -> None:
    folder = bench.lay("libs/near", "near")
    before = sorted(file.name for file in folder.rglob("*"))

    first = bench.lock("./libs/near")
    (folder / "near.py").write_text("VERSION = 'changed'\n")
    second = bench.lock("./libs/near")

    assert sorted(file.name for file in folder.rglob("*")) == before
    assert first.wheels[0].sha256 != second.wheels[0].sha256
    assert "libs" not in second.text.decode()
    assert bench.lock("./libs/near") == second
    assert len(bench.stages.texts) == 4


_KEEPS_MODES = """
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "a") as archive:
        for file in ("run.sh", "plain.txt"):
            archive.writestr(zipfile.ZipInfo(file + oct(os.stat(file).st_mode)), "")
"""


def test_a_wheel_is_the_same_under_every_umask(bench: Bench) -> None:
    found: dict[str, set[str]] = {"folder": set(), "git": set(), "archive": set()}
    for umask in (0o002, 0o022, 0o077):
        before = os.umask(umask)
        try:
            for kind, sha256 in _built_under(bench, f"{umask:o}").items():
                found[kind].add(sha256)
        finally:
            os.umask(before)

    assert {kind: len(digests) for kind, digests in found.items()} == {"folder": 1, "git": 1, "archive": 1}


def _built_under(bench: Bench, name: str) -> dict[str, str]:
    """Return the digests of wheels that hold the modes of their sources."""
    folder = bench.lay(name, "tool")
    backend = (folder / "backend.py").read_text().replace("    return name\n", f"{_KEEPS_MODES}    return name\n")
    (folder / "backend.py").write_text(backend)
    (folder / "plain.txt").write_text("")
    (folder / "run.sh").write_text("")
    (folder / "run.sh").chmod((folder / "run.sh").stat().st_mode | 0o100)
    files = {f"top/inner/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    bench.index.add(f"{name}.zip", package_index.zipped(files))
    for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        bench.git(folder, *step)
    said = {
        "folder": f"./{name}",
        "git": f"tool @ git+{folder.as_uri()}",
        "archive": f"tool @ {bench.index.file_url(f'{name}.zip')}#subdirectory=inner",
    }
    return {kind: bench.lock(one, cache=f"cache-{name}").wheels[0].sha256 for kind, one in said.items()}


def test_a_commit_becomes_a_wheel(bench: Bench) -> None:
    folder = bench.lay("repository", "tool")
    bench.lay("repository/inner", "inner")
    bench.git(folder, "init", "--quiet", "--initial-branch", "main")
    bench.git(folder, "add", ".")
    bench.git(folder, "commit", "--quiet", "-m", "first")
    first = bench.git(folder, "rev-parse", "HEAD")
    (folder / "tool.py").write_text("VERSION = 'later'\n")
    bench.git(folder, "commit", "--quiet", "-a", "-m", "later")

    lock = bench.lock(f"tool @ git+{folder.as_uri()}@{first}", f"inner @ git+{folder.as_uri()}@main#subdirectory=inner")

    assert [wheel.name for wheel in lock.wheels] == ["inner", "tool"]
    assert lock.wheels[1].path is not None
    with zipfile.ZipFile(lock.wheels[1].path) as archive:
        assert archive.read("tool.py") == b"VERSION = '1.0'\n"
    assert folder.as_uri() not in lock.text.decode()
    # What a builder on another machine could not reach is built here, whether it compiles or not.
    assert bench.lock(f"tool @ git+{folder.as_uri()}@{first}", compiler=True).wheels


def test_a_token_in_the_url_of_a_repository_is_in_no_argument(bench: Bench) -> None:
    folder = bench.lay("repository", "tool")
    for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        bench.git(folder, *step)
    commit = bench.git(folder, "rev-parse", "HEAD")
    program = bench.folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {bench.folder}/arguments\nexec /usr/bin/env -u X PATH="$REAL" git "$@"\n'
    )
    program.chmod(0o700)
    bench.environment |= {"REAL": os.environ["PATH"], "PATH": f"{program.parent}:{os.environ['PATH']}"}
    raw = pylocks.Raw("tool", "1.0", "git", f"file://user:planted@localhost{folder}", commit=commit)
    from clary.images.packages import source_builds

    try:
        source_builds._cloned(raw, bench.folder / "clone", bench.environment)
    except ClaryError as error:
        assert "planted" not in str(error.to_dict())  # noqa: PT017 - it may be refused, but not with the token

    assert "fetch" in (bench.folder / "arguments").read_text()
    assert "planted" not in (bench.folder / "arguments").read_text()


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_an_archive_by_url_is_built_from_the_folder_it_names(bench: Bench, form: str) -> None:
    files = {f"top-abc/inner/{path}": data for path, data in package_index.project("inner").items()}
    data = package_index.zipped(files) if form == "zip" else _tar(files)
    bench.index.add(f"main.{form}", data)

    lock = bench.lock(f"inner @ {bench.index.file_url(f'main.{form}')}#subdirectory=inner")

    assert [wheel.filename for wheel in lock.wheels] == ["inner-1.0-py3-none-any.whl"]


def test_a_wheel_by_url_is_taken_as_it_is(bench: Bench) -> None:
    filename = bench.index.add_wheel("direct")

    lock = bench.lock(f"direct @ {bench.index.file_url(filename)}")

    assert lock.wheels[0].url == bench.index.file_url(filename)
    assert lock.wheels[0].sha256 == bench.index.digest(filename)


def test_what_needs_a_compiler_is_refused_and_leaves_no_wheel(bench: Bench) -> None:
    bench.lay("native", "native", tag="cp311-cp311-linux_x86_64")

    refused = bench.refused("./native")

    assert refused.code == "image.needs_compiler"
    assert "native-1.0-cp311-cp311-linux_x86_64.whl" in refused.summary
    assert "docker or kaniko" in refused.next_step
    assert not list((bench.folder / "cache").rglob("*.whl"))


def test_a_backend_that_fails_is_told_with_what_it_said(bench: Bench) -> None:
    folder = bench.lay("broken", "broken")
    backend = folder / "backend.py"
    backend.write_text(
        backend.read_text().replace("    name =", "    raise SystemExit('error: no such header')\n    name =")
    )

    refused = bench.refused("./broken")

    assert refused.code == "image.build_failed"
    assert refused.summary == "broken comes as source, and could not be built: no such header."
    assert "no such header" in refused.details["output"]


def test_a_folder_whose_backend_tells_its_version_is_asked_and_wheels_are_preferred_all_the_same(bench: Bench) -> None:
    folder = bench.lay("near", "near", requires=["half"])
    (folder / "PKG-INFO").unlink()
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "1.0"', 'dynamic = ["version"]'))
    bench.index.add_wheel("half", "1.0")
    bench.index.add_sdist("half", "2.0")

    lock = bench.lock("./near")

    assert [(wheel.name, wheel.version) for wheel in lock.wheels] == [("half", "1.0"), ("near", "1.0")]


def test_metadata_that_cannot_be_made_are_told_like_a_wheel_that_cannot(bench: Bench) -> None:
    folder = bench.lay("broken", "broken")
    (folder / "PKG-INFO").unlink()
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "1.0"', 'dynamic = ["version"]'))
    backend = folder / "backend.py"
    backend.write_text(
        backend.read_text().replace("    name =", "    raise SystemExit('error: no such header')\n    name =")
    )

    refused = bench.refused("./broken")

    assert refused.code == "image.build_failed"
    assert refused.summary == "broken comes as source, and could not be built: no such header."


@pytest.mark.parametrize(
    "row",
    [
        "url = 'https://x/y', name = 'x-1.0-py3-none-any./../../../evil.whl', hashes = { sha256 = '%s' }" % ("0" * 64),
        "url = 'https://x/x-1.0-py3-none-any.whl', hashes = { sha256 = '../../../evil' }",
        "path = 'x-1.0-py3-none-any./../../../../evil.whl', hashes = { sha256 = '%s' }" % ("0" * 64),
    ],
)
def test_a_lock_puts_nothing_outside_the_store(bench: Bench, row: str) -> None:
    head = "lock-version = '1.0'\ncreated-by = 'x'\n[[packages]]\nname = 'x'\nversion = '1.0'\n"
    (bench.folder / "pylock.toml").write_text(f"{head}wheels = [{{ {row} }}]\n")
    source = sources.read("pylock.toml", bench.folder)
    assert source is not None

    def lock_and_fetch() -> None:
        settings: dict[str, Any] = {"environment": bench.environment, "progress": Quiet()}
        made = locking.lock(source, _PYTHON, torch=None, cache=bench.folder / "cache", **settings)
        fetching.fetch(made.wheels, bench.folder / "wheels", **settings)

    with pytest.raises(ClaryError) as caught:
        lock_and_fetch()

    assert caught.value.code == "image.bad_lock"


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
