"""Requirements to locks by the real uv, against an index on loopback."""

from __future__ import annotations

import shutil
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

import package_index
from clary.errors import ClaryError
from clary.images.building import Python, Quiet
from clary.images.packages import locking, pylocks, resolving, sources, store, uv_locks
from clary.images.platforms import Platform
from package_index import PASSWORD, USER, PackageIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clary.images.packages.locking import Lock
    from clary.images.packages.sources import Source

_PYTHON = Python("3.12", "/usr/bin/python3", libc_version=(2, 36))
_MUSL_ARM = Python("3.13", "/usr/bin/python3", libc="musl", libc_version=(1, 2), platform=Platform("arm64"))


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index.serving() as served:
        yield served


class Bench:
    """A project, and a place where its locks are kept."""

    def __init__(self, folder: Path, index: PackageIndex, url: str | None = None) -> None:
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        self.cache = folder / "cache"
        self.index = index
        self.environment = package_index.environment(index, folder / "home", url)

    def write(self, name: str, text: str) -> Path:
        file = self.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def lay(self, name: str, **said: Any) -> Path:
        """Lay a project that builds by itself below the project."""
        for path, data in package_index.project(name, **said).items():
            self.write(f"libs/{name}/{path}", data.decode())
        return self.project / "libs" / name

    def lock(self, said: str | list[str] | None = None, python: Python = _PYTHON, **more: Any) -> Lock:
        choices = {name: more.pop(name) for name in ("extras", "groups") if name in more}
        source = sources.read(said, self.project, **choices)
        assert source is not None
        return self.lock_source(source, python, **more)

    def lock_source(self, source: Source, python: Python = _PYTHON, **more: Any) -> Lock:
        settings: dict[str, Any] = {"torch": None, "environment": self.environment, "progress": Quiet(), **more}
        return locking.lock(source, python, cache=self.cache, **settings)

    def refused(self, said: str | list[str] | None = None, python: Python = _PYTHON, **more: Any) -> ClaryError:
        with pytest.raises(ClaryError) as caught:
            self.lock(said, python, **more)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, index: PackageIndex) -> Bench:
    return Bench(tmp_path, index)


def test_a_lock_names_the_wheels_of_the_target_and_nothing_else(bench: Bench) -> None:
    bench.index.add_wheel("top", requires=["low>=1; sys_platform == 'linux'", "absent; sys_platform == 'win32'"])
    for tag in (
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_40_x86_64",
        "cp311-cp311-manylinux_2_28_x86_64",
    ):
        bench.index.add_wheel("low", tag=tag)

    lock = bench.lock(["top"])

    assert [wheel.filename for wheel in lock.wheels] == [
        "low-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "top-1.0-py3-none-any.whl",
    ]
    assert all(wheel.sha256 == bench.index.digest(wheel.filename) for wheel in lock.wheels)
    assert all(wheel.size == len(bench.index.files[wheel.filename]) for wheel in lock.wheels)
    assert pylocks.wheels_of(lock.text) == lock.wheels
    assert str(bench.project) not in lock.text.decode()


def test_a_lock_is_made_for_machines_and_pythons_that_are_not_here(bench: Bench) -> None:
    bench.index.add_wheel("low", "2.0", tag="cp313-cp313-manylinux_2_28_aarch64")
    bench.index.add_wheel("low", "1.0", tag="cp313-cp313-musllinux_1_2_aarch64")

    (wheel,) = bench.lock(["low"], _MUSL_ARM).wheels

    assert wheel.filename == "low-1.0-cp313-cp313-musllinux_1_2_aarch64.whl"


def test_our_lock_is_one_that_others_can_read(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    here = Python(f"3.{sys.version_info.minor}", sys.executable)
    lock = bench.lock(["pure"], here)
    bench.write("pylock.toml", lock.text.decode())

    again = bench.lock("pylock.toml", here)
    place = bench.project.parent / "installed"
    options = ["--target", str(place), "--python", sys.executable, "--python-platform", "x86_64-manylinux_2_28"]
    done = resolving.run(["pip", "install", *options, "-r", "pylock.toml"], bench.project, bench.environment)

    assert again.text == lock.text
    assert done.returncode == 0, done.stderr
    assert (place / "pure" / "__init__.py").is_file()


def test_an_unchanged_project_is_not_resolved_again(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    first = bench.lock(["pure"])
    asked = len(bench.index.asked)
    bench.index.add_wheel("pure", "2.0")

    assert bench.lock(["pure"]) == first
    assert len(bench.index.asked) == asked
    assert bench.lock(["pure"], upgrade=True).wheels[0].version == "2.0"
    assert bench.lock(["pure"]).wheels[0].version == "2.0"


@pytest.mark.parametrize("change", ["included", "python", "machine", "torch", "index", "settings", "constraint"])
def test_whatever_decides_a_lock_has_it_resolved_again(bench: Bench, change: str) -> None:
    bench.index.add_wheel("pure")
    bench.write("base.txt", "pure\n")
    bench.write("limits.txt", "pure<2\n")
    bench.write("requirements.txt", "-r base.txt\n")
    bench.environment["UV_CONSTRAINT"] = str(bench.project / "limits.txt")
    bench.lock()
    bench.index.asked.clear()
    python, torch = _PYTHON, None
    if change == "included":
        bench.write("base.txt", "pure>=1\n")
    elif change == "settings":
        bench.write("uv.toml", 'resolution = "lowest"\n')
    elif change == "constraint":
        bench.write("limits.txt", "pure<3\n")
    elif change == "index":
        bench.environment["UV_INDEX"] = f"{bench.index.url}/"
    elif change == "torch":
        torch = "cpu"
    else:
        python = (
            Python("3.13", "python") if change == "python" else Python("3.12", "python", platform=Platform("arm64"))
        )
    bench.lock(python=python, torch=torch, upgrade=False)

    assert bench.index.asked_for("/simple/pure")


@pytest.mark.parametrize("name", ["UV_INDEX_MINE_PASSWORD", "UV_HTTP_TIMEOUT", "OTHER"])
def test_what_does_not_decide_a_lock_leaves_it_remembered(bench: Bench, name: str) -> None:
    bench.index.add_wheel("pure")
    bench.lock(["pure"])
    bench.index.asked.clear()
    bench.environment[name] = "7"
    bench.lock(["pure"])

    assert not bench.index.asked


def test_clary_itself_is_left_out_wherever_it_is_asked_for(bench: Bench) -> None:
    bench.index.add_wheel("pure", requires=["clary>=0.1"])

    listed = bench.lock(["pure", "clary[sandbox]>=0.1"])
    bench.write("requirements.txt", "pure\nclary\n")
    in_file = bench.lock()

    assert [wheel.name for wheel in listed.wheels] == [wheel.name for wheel in in_file.wheels] == ["pure"]
    assert "jobs get it beside their code" in listed.notes[0]
    assert in_file.notes == listed.notes
    assert bench.lock(["pure"]).notes == ()


def test_extras_and_groups_of_a_project_count_when_they_are_asked_for(bench: Bench) -> None:
    for name in ("base", "plots", "train"):
        bench.index.add_wheel(name)
    bench.write(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["base"]\n'
        '[project.optional-dependencies]\np = ["plots"]\n[dependency-groups]\nt = ["train"]\ndev = ["nowhere"]\n',
    )

    assert _names(bench.lock()) == ["base"]
    assert _names(bench.lock(extras=["p"], groups=["t"])) == ["base", "plots", "train"]


def test_a_lock_of_uv_is_used_as_it_is(bench: Bench) -> None:
    for name in ("base", "plots", "train", "dev", "win"):
        bench.index.add_wheel(name)
    bench.index.add_wheel("clary", requires=["win"])
    bench.write(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["base", "clary", "win; sys_platform == \'win32\'", "near"]\n'
        '[project.optional-dependencies]\np = ["plots"]\n[dependency-groups]\nt = ["train"]\ndev = ["dev"]\n'
        '[tool.uv.workspace]\nmembers = ["libs/near"]\n[tool.uv.sources]\nnear = { workspace = true }\n',
    )
    bench.lay("near", requires=["base"])
    bench.index.add_wheel("base", "2.0", requires_python=">=4")
    done = resolving.run(["lock"], bench.project, bench.environment)
    assert done.returncode == 0, done.stderr
    bench.index.add_wheel("base", "3.0")
    bench.index.asked.clear()

    assert _names(bench.lock()) == ["base", "near"]
    assert not bench.index.asked_for("/simple/")
    assert _names(bench.lock(extras=["p"], groups=["t"])) == ["base", "near", "plots", "train"]
    member = sources.find(bench.project / "libs" / "near")
    assert member is not None
    assert _names(bench.lock_source(member)) == ["base"]
    assert "torch='cpu' does not count" in bench.lock(torch="cpu").notes[0]


def test_a_uv_lock_that_its_project_has_outgrown_is_refused(bench: Bench) -> None:
    for name in ("base", "plots", "train", "more"):
        bench.index.add_wheel(name)
    bench.lay("near")

    def write(base: str = "base>=0.5,<2", train: str = "train", more: str = "") -> None:
        bench.write(
            "pyproject.toml",
            '[project]\nname = "My_Own"\nversion = "1"\nrequires-python = ">=3.11"\n'
            f'dependencies = ["{base}", "near; python_version < \'4\'"{more}]\n'
            "[project.optional-dependencies]\np = ['plots']\nall = ['my-own[p]']\n"
            f"[dependency-groups]\nt = ['{train}', {{ include-group = 'o' }}]\no = ['more']\n"
            "[tool.uv.sources]\nnear = { path = 'libs/near' }\n",
        )

    write()
    done = resolving.run(["lock"], bench.project, bench.environment)
    assert done.returncode == 0, done.stderr
    mirrored = {**bench.environment, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/mirror"}
    assert _names(bench.lock(extras=["all"], groups=["t"], environment=mirrored)) == [
        "base", "more", "near", "plots", "train"
    ]  # fmt: skip
    write("Base <2, >=0.5")  # the same in other words
    assert _names(bench.lock()) == ["base", "near"]
    write("base>=0.6", train="train<3", more=", 'more'")
    refused = bench.refused()
    assert (refused.code, refused.next_step) == ("image.lock_outdated", "Run `uv lock`.")
    assert refused.summary == "uv.lock is older than pyproject.toml: it does not know base>=0.6, more."
    write(train="train<3")
    assert _names(bench.lock()) == ["base", "near"], "a group that is not asked for does not count"
    assert "train<3" in bench.refused(groups=["t"]).summary


_HEAD = '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.11"\n'
_WORKSPACE = '[tool.uv.workspace]\nmembers = ["libs/*"]\n'


def _project(*requires: str, more: str = "", name: str = "mine") -> str:
    return f"{_HEAD.format(name)}dependencies = {list(requires)!r}\n{more}"


def _extras(**said: list[str]) -> str:
    return "[project.optional-dependencies]\n" + "".join(f"{name} = {value!r}\n" for name, value in said.items())


def _groups(**said: str) -> str:
    return "[dependency-groups]\n" + "".join(f"{name} = [{value}]\n" for name, value in said.items())


def _sources(**said: str) -> str:
    return "[tool.uv.sources]\n" + "".join(f"{name} = {{ {value} }}\n" for name, value in said.items())


_MEMBERS = {
    "pyproject.toml": _project("one", more=_WORKSPACE + _sources(near="workspace = true")),
    "libs/mine/pyproject.toml": _project("near>=0.5", name="inner"),
    "libs/near/pyproject.toml": _project("two", name="near"),
}
_VIRTUAL = {"pyproject.toml": _WORKSPACE + _groups(g="'one'"), "libs/near/pyproject.toml": _project("two", name="near")}
_NEAR = {
    "pyproject.toml": _project("near>=0.5", more=_sources(near="path = 'near'")),
    "near/pyproject.toml": _project("one", name="near"),
    "other/pyproject.toml": _project("one", name="near"),
}
_ALL = _extras(a=["one"], B_c=["two"], all=["mine[a,b-c]"])
_OLDER_GROUP = "[tool.uv]\ndev-dependencies = ['two']\n"
_OTHER_PYTHON = "[tool.uv.dependency-groups]\ng = { requires-python = '>=3.13' }\n"


@pytest.mark.parametrize(
    ("files", "choices", "folder"),
    [
        (_MEMBERS, {}, "libs/mine"),
        (_VIRTUAL, {"groups": ["g"]}, "."),
        (_NEAR, {}, "."),
        ({"pyproject.toml": _project("one", more=_groups(De_v="'two', {include-group = 'x-y'}", X_Y="'three'"))},
         {"groups": ["De_v"]}, "."),
        ({"pyproject.toml": _project("one", more='[dependency-groups]\n"Dev.Tools" = ["two"]\n')},
         {"groups": ["dev-tools"]}, "."),
        ({"pyproject.toml": _project("one", more=_OLDER_GROUP)}, {"groups": ["dev"]}, "."),
        ({"pyproject.toml": _project("one", more=_groups(g="'two'") + _OTHER_PYTHON)}, {"groups": ["g"]}, "."),
        ({"pyproject.toml": _project("mine[a]", more=_ALL)}, {"extras": ["All"]}, "."),
        ({"pyproject.toml": _project("one; python_version < '3.12'", "one>=0.5; python_version >= '3.12'")}, {}, "."),
        ({"pyproject.toml": _project("one>=0.5", "two>=9; sys_platform == 'win32' and python_version < '3'")}, {}, "."),
    ],
)  # fmt: skip
def test_a_uv_lock_that_uv_calls_fresh_is_taken(
    bench: Bench, files: dict[str, str], choices: dict[str, Any], folder: str
) -> None:
    for name in ("one", "two", "three"):
        bench.index.add_wheel(name)
    _write_and_lock(bench, files)

    source = sources.find(bench.project / folder, **choices)
    assert source is not None

    uv_locks.check(source, _PYTHON, bench.environment)


@pytest.mark.parametrize(
    ("files", "changed", "choices", "lacks"),
    [
        ({"pyproject.toml": _project("two; sys_platform == 'win32'")}, {"pyproject.toml": _project("two")}, {}, "two"),
        ({"pyproject.toml": _project("two; python_version >= '3.13'")},
         {"pyproject.toml": _project("two; python_version >= '3.12'")}, {}, "two; python_version >= '3.12'"),
        ({"pyproject.toml": _project(more=_extras(a=["two"]))},
         {"pyproject.toml": _project("two", more=_extras(a=["two"]))}, {}, "two"),
        ({"pyproject.toml": _project(more=_extras(a=["one"], b=["two"]))},
         {"pyproject.toml": _project(more=_extras(a=["one", "two"], b=["two"]))}, {"extras": ["a"]}, "two"),
        ({"pyproject.toml": _project(more=_extras(A_b=["one"]))},
         {"pyproject.toml": _project(more=_extras(A_b=["one", "two"]))}, {"extras": ["a-b"]}, "two"),
        ({"pyproject.toml": _project(more=_groups(g="'one', {include-group = 'h'}", h=""))},
         {"pyproject.toml": _project(more=_groups(g="'one', {include-group = 'h'}", h="'two'"))}, {"groups": ["g"]},
         "two"),
        ({"pyproject.toml": _project("mine[a]", more=_ALL)}, {"pyproject.toml": _project("mine[a,b-c]", more=_ALL)}, {},
         "two"),
        ({"pyproject.toml": _project(more=_ALL)}, {"pyproject.toml": _project(more=_ALL.replace("'one'", "'three'"))},
         {"extras": ["all"]}, "three"),
        ({"pyproject.toml": _project("one", more=_OLDER_GROUP)},
         {"pyproject.toml": _project("one", more=_OLDER_GROUP.replace("'two'", "'two', 'three'"))},
         {"groups": ["dev"]}, "three"),
        (_NEAR, {"pyproject.toml": _project("near>=0.5", more=_sources(near="path = 'other'"))}, {}, "near>=0.5"),
        (_NEAR, {"near/pyproject.toml": _project("one", "two", name="near")}, {}, "two"),
        ({**_NEAR, "pyproject.toml": _project("one")},
         {"pyproject.toml": _project("one", more=_sources(one="path = 'near'"))}, {}, "one"),
        (_MEMBERS | {"pyproject.toml": _project("near", more=_WORKSPACE + _sources(near="workspace = true"))},
         {"libs/near/pyproject.toml": _project("two", "three", name="near")}, {}, "three"),
        (_VIRTUAL, {"pyproject.toml": _WORKSPACE + _groups(g="'one', 'three'")}, {"groups": ["g"]}, "three"),
        (_VIRTUAL, {"libs/near/pyproject.toml": _project("two", "three", name="near")}, {"groups": ["g"]}, "three"),
        ({"pyproject.toml": _project("one")}, {"pyproject.toml": _project("one", name="renamed")}, {},
         "the project renamed"),
        ({"pyproject.toml": _project("one")}, {"pyproject.toml": _project("one", more=_extras(a=["one"]))},
         {"extras": ["a"]}, "the extra a"),
        ({"pyproject.toml": _project("one")}, {"pyproject.toml": _project("one", more=_groups(g=""))},
         {"groups": ["g"]}, "the group g"),
    ],
)  # fmt: skip
def test_a_uv_lock_without_something_that_is_asked_for_is_refused(
    bench: Bench, files: dict[str, str], changed: dict[str, str], choices: dict[str, Any], lacks: str
) -> None:
    for name in ("one", "two", "three"):
        bench.index.add_wheel(name)
    _write_and_lock(bench, files)
    for name, text in changed.items():
        bench.write(name, text)

    refused = bench.refused(**choices)

    assert refused.code == "image.lock_outdated"
    assert refused.summary.endswith(f"it does not know {lacks}.")


def test_a_requirement_by_url_is_known_by_its_url(bench: Bench) -> None:
    first, second = (bench.index.file_url(bench.index.add_wheel("one", version)) for version in ("1.0", "2.0"))
    _write_and_lock(bench, {"pyproject.toml": _project(f"one @ {first}")})
    assert _names(bench.lock()) == ["one"]
    for other in ("one", f"one @ {second}"):
        bench.write("pyproject.toml", _project(other))
        assert bench.refused().code == "image.lock_outdated"
    _write_and_lock(bench, {"pyproject.toml": _project("one")})
    bench.write("pyproject.toml", _project(f"one @ {second}"))
    assert bench.refused().code == "image.lock_outdated"


def test_a_uv_lock_made_without_sources_is_fresh_without_them(bench: Bench) -> None:
    bench.index.add_wheel("near")
    bench.environment["UV_NO_SOURCES"] = "1"
    _write_and_lock(bench, _NEAR)

    assert _names(bench.lock()) == ["near"]


def _write_and_lock(bench: Bench, files: dict[str, str]) -> None:
    for name, text in files.items():
        bench.write(name, text)
    done = resolving.run(["lock", "--python", sys.executable], bench.project, bench.environment)
    assert done.returncode == 0, done.stderr
    checked = resolving.run(["lock", "--check", "--python", sys.executable], bench.project, bench.environment)
    assert checked.returncode == 0, checked.stderr


def test_a_uv_lock_that_lies_deeper_has_its_own_project_beside_it(bench: Bench) -> None:
    bench.index.add_wheel("base")
    bench.write("app/pyproject.toml", '[project]\nname = "app"\nversion = "1"\ndependencies = ["base"]\n')
    done = resolving.run(["lock"], bench.project / "app", bench.environment)
    assert done.returncode == 0, done.stderr
    assert _names(bench.lock("app/uv.lock")) == ["base"]
    (bench.project / "app/pyproject.toml").unlink()
    refused = bench.refused("app/uv.lock")
    assert refused.code == "image.requirements_not_found"
    assert "app/uv.lock has no pyproject.toml beside it" in refused.summary


def test_a_pylock_has_groups_of_its_own(bench: Bench) -> None:
    for name in ("base", "more"):
        bench.index.add_wheel(name)
    rows = [f"[[packages]]\nname = {n!r}\nversion = '1.0'\n{m}wheels = [{{ {bench_file(bench, n)} }}]\n" for n, m in
            (("base", ""), ("more", "marker = \"'g' in dependency_groups\"\n"))]  # fmt: skip
    head = "lock-version = '1.0'\ncreated-by = 'x'\ndependency-groups = ['g']\n"
    bench.write("pylock.toml", head + "".join(rows))

    assert _names(bench.lock("pylock.toml")) == ["base"]
    assert _names(bench.lock("pylock.toml", groups=["g"])) == ["base", "more"]
    assert bench.refused("pylock.toml", groups=["h"]).code == "image.unknown_group"


def test_a_script_says_what_it_needs_with_its_own_settings(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    bench.lay("near", requires=["pure"])
    head = '# /// script\n# requires-python = ">=3.12"\n# dependencies = ["near"]\n'
    bench.write("train.py", head + '# [tool.uv.sources]\n# near = { path = "libs/near" }\n# ///\n')

    assert _names(bench.lock("train.py")) == ["near", "pure"]
    refused = bench.refused("train.py", Python("3.11", "python"))
    assert refused.code == "image.python_mismatch"
    assert "requires Python >=3.12" in refused.summary


def test_the_package_of_the_project_itself_is_not_installed_but_what_it_needs_is(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    for path, data in package_index.project("mine", requires=["pure"]).items():
        bench.write(path, data.decode())
    bench.write("requirements.txt", "-e .\n")

    assert _names(bench.lock()) == ["pure"]
    bench.index.add_wheel("more")
    bench.write("pyproject.toml", (bench.project / "pyproject.toml").read_text().replace('["pure"]', '["more"]'))
    bench.write("PKG-INFO", "")
    assert _names(bench.lock()) == ["more"]


def test_a_project_for_another_python_is_refused(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    bench.write(
        "pyproject.toml", '[project]\nname = "m"\nversion = "1"\nrequires-python = ">=3.13"\ndependencies = ["pure"]\n'
    )

    refused = bench.refused()

    assert (refused.code, refused.field) == ("image.python_mismatch", "image.python")
    assert _names(bench.lock(python=Python("3.13", "python"))) == ["pure"]


def test_a_backend_is_asked_for_requirements_that_only_it_knows(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    for path, data in package_index.project("mine", requires=["pure"]).items():
        bench.write(path, data.decode().replace('dependencies = ["pure"]', 'dynamic = ["dependencies"]'))
    (bench.project / "PKG-INFO").unlink()

    assert _names(bench.lock()) == ["pure"]


def test_groups_need_no_project(bench: Bench) -> None:
    bench.index.add_wheel("train")
    bench.write("pyproject.toml", '[dependency-groups]\nt = ["train"]\n')

    assert _names(bench.lock(groups=["t"])) == ["train"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("project = 3\n", "image.unknown_requirements"),
        ("[project\n", "image.bad_toml"),
        ('[project]\nname = "m"\nversion = "1"\ndependencies = "pure"\n', "image.bad_requirement"),
        ('[project]\nname = "m"\nversion = "1"\ndependencies = ["x y"]\n', "image.bad_requirement"),
        ('[project]\nname = "m"\nversion = "1"\nrequires-python = "abc"\n', "image.bad_toml"),
    ],
)
def test_a_project_that_is_not_well_formed_is_told(bench: Bench, text: str, code: str) -> None:
    bench.write("pyproject.toml", text)

    assert bench.refused("pyproject.toml").code == code


def test_nothing_but_clary_is_no_package_at_all(bench: Bench) -> None:
    lock = bench.lock(["clary"])

    assert (lock.text, lock.wheels) == (b"", ())
    assert lock.notes


def test_digests_in_a_requirements_file_are_held_against_the_wheel(bench: Bench) -> None:
    digest = bench.index.digest(bench.index.add_wheel("pure"))
    bench.write("requirements.txt", f"pure==1.0 --hash=sha256:{digest}\n")
    assert _names(bench.lock()) == ["pure"]

    bench.write("requirements.txt", f"pure==1.0 --hash=sha256:{'0' * 64}\n")
    refused = bench.refused()

    assert refused.code == "image.hash_mismatch"
    assert digest in refused.summary


def test_digests_of_several_lines_of_a_package_count_by_their_markers(bench: Bench) -> None:
    old, new = (bench.index.digest(bench.index.add_wheel("pure", version)) for version in ("1.0", "2.0"))
    rows = (
        "pure==1.0 ; python_version < '3.12' --hash=sha256:{}\npure==2.0 ; python_version >= '3.12' --hash=sha256:{}\n"
    )
    bench.write("requirements.txt", rows.format(old, new))
    assert [wheel.version for wheel in bench.lock().wheels] == ["2.0"]
    assert [wheel.version for wheel in bench.lock(python=Python("3.11", "python")).wheels] == ["1.0"]
    bench.write("requirements.txt", rows.format(new, old))
    assert bench.refused().code == "image.hash_mismatch"


def test_digests_that_are_not_checked_are_refused(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    bench.write("requirements.txt", f"pure==1.0 --hash=sha512:{'0' * 128}\n")

    refused = bench.refused()

    assert refused.code == "image.hash_unsupported"
    assert "sha512" in refused.summary


def test_a_file_that_requires_digests_has_one_for_every_package(bench: Bench) -> None:
    low = bench.index.digest(bench.index.add_wheel("low"))
    top = bench.index.digest(bench.index.add_wheel("top", requires=["low"]))
    bench.write("requirements.txt", f"--require-hashes\ntop==1.0 --hash=sha256:{top}\n")
    refused = bench.refused()
    assert refused.code == "image.hash_missing"
    assert "no digest for low." in refused.summary
    bench.write("requirements.txt", f"--require-hashes\ntop==1.0 --hash=sha256:{top}\nlow==1.0 --hash=sha256:{low}\n")
    assert _names(bench.lock()) == ["low", "top"]


def test_a_file_may_ask_for_sources(bench: Bench) -> None:
    for name in ("pure", "bare"):
        bench.index.add_sdist(name)
    bench.index.add_wheel("pure")
    bench.write("requirements.txt", "--no-binary pure\npure\nbare\n")

    assert [wheel.url for wheel in bench.lock().wheels] == [None, None]


@pytest.mark.parametrize("locked", [False, True])
def test_settings_that_uv_cannot_read_are_refused(bench: Bench, locked: bool) -> None:
    bench.index.add_wheel("one")
    _write_and_lock(bench, {"pyproject.toml": _project("one")})
    if not locked:
        (bench.project / "uv.lock").unlink()
    bench.write("pyproject.toml", _project("one", more='[tool.uv]\nprerelease = "alow"\n'))

    refused = bench.refused()

    assert refused.code == "image.bad_settings"
    assert refused.summary.startswith("uv cannot read its settings in pyproject.toml: unknown variant `alow`")


def test_warnings_of_uv_become_notes(bench: Bench) -> None:
    url = bench.index.file_url(bench.index.add_wheel("pure"))
    page = f'<a href="{url}" data-yanked="it was bad">pure-1.0-py3-none-any.whl</a>'
    bench.index.add("links.html", f"<!DOCTYPE html><html><body>{page}</body></html>".encode())
    bench.environment |= {"UV_FIND_LINKS": bench.index.file_url("links.html"), "UV_NO_INDEX": "1"}

    first = bench.lock(["pure==1.0"])

    assert first.notes == ('uv warns: `pure==1.0` is yanked (reason: "it was bad").',)
    assert bench.lock(["pure==1.0"]) == first


def test_without_a_network_newer_versions_are_not_looked_for(bench: Bench) -> None:
    bench.index.add_wheel("pure")
    bench.lock(["pure"])
    bench.index.asked.clear()
    bench.environment["UV_OFFLINE"] = "1"

    lock = bench.lock(["pure"], upgrade=True)

    assert _names(lock) == ["pure"]
    assert "UV_OFFLINE" in lock.notes[0]
    assert not bench.index.asked


def test_an_error_in_a_list_names_the_list(bench: Bench) -> None:
    refused = bench.refused(["pure @ file://nowhere/pure"])

    assert "clary-resolve" not in str(refused.to_dict())


@pytest.mark.parametrize("said", [None, "-e .", "."])
@pytest.mark.parametrize("known", ["setuptools", "nobody"])
def test_requirements_that_a_backend_reads_from_a_file_are_looked_at_each_time(
    bench: Bench, said: str | None, known: str
) -> None:
    for name in ("pure", "more"):
        bench.index.add_wheel(name)
    for path, data in package_index.project("mine", requires=["pure"]).items():
        bench.write(path, data.decode().replace('dependencies = ["pure"]', 'dynamic = ["dependencies"]'))
    (bench.project / "PKG-INFO").unlink()
    backend = (bench.project / "backend.py").read_text()
    backend = backend.replace("Requires-Dist: pure", '""" + open("r.in").read() + """')
    bench.write("backend.py", f"{backend}\n\nbuild_editable = build_wheel\n")
    if known == "setuptools":
        table = "\n[tool.setuptools.dynamic]\ndependencies = { file = ['r.in'] }\n"
        bench.write("pyproject.toml", (bench.project / "pyproject.toml").read_text() + table)
    bench.write("r.in", "Requires-Dist: pure")
    if said is not None:
        bench.write("requirements.txt", f"{said}\n")
    assert _names(bench.lock()) == ["pure"]
    bench.index.asked.clear()
    assert _names(bench.lock()) == ["pure"]
    assert not bench.index.asked

    bench.write("r.in", "Requires-Dist: more")

    assert _names(bench.lock()) == ["more"]


def test_a_project_below_the_project_is_the_one_that_is_named(bench: Bench) -> None:
    for name in ("one", "two"):
        bench.index.add_wheel(name)
    bench.write("pyproject.toml", _project("two", name="outer"))
    bench.write("env/pyproject.toml", _project(name="app", more=_extras(e=["one"])))
    done = resolving.run(["lock"], bench.project / "env", bench.environment)
    assert done.returncode == 0, done.stderr

    assert _names(bench.lock("env/pyproject.toml", extras=["e"])) == ["one"]
    assert _names(bench.lock("env/uv.lock", extras=["e"])) == ["one"]


@pytest.mark.parametrize("password", ["pa55/planted", "pa55@planted", "pa55:/@planted"])
def test_a_password_that_is_not_escaped_is_told_nowhere(tmp_path: Path, password: str) -> None:
    with package_index.serving(password="other") as index:
        bench = Bench(tmp_path, index, f"http://{USER}:{password}@{index.address}/simple")

        refused = bench.refused(["pure"])

    assert not _has_secret(str(refused.to_dict()).encode())


def test_a_password_of_the_environment_is_told_nowhere(bench: Bench) -> None:
    bench.environment |= {"UV_INDEX_MINE_PASSWORD": "planted-deep", "TEAM_URL": "https://u:pa55-deep@example.com/x"}
    folder = bench.lay("near")
    backend = (folder / "backend.py").read_text()
    shout = "    raise SystemExit('error: ' + ' '.join(os.environ.values()))\n    name ="
    (folder / "backend.py").write_text(backend.replace("    name =", shout))

    refused = bench.refused(["./libs/near"])

    assert refused.code == "image.build_failed"
    assert "***" in str(refused.to_dict())
    assert not _has_secret(str(refused.to_dict()).encode())


def test_a_newest_version_without_a_wheel_gives_way_to_an_older_one_with_one(bench: Bench) -> None:
    bench.index.add_wheel("half", "1.0", tag="cp312-cp312-manylinux_2_17_x86_64")
    bench.index.add_sdist("half", "2.0", tag="cp311-cp311-linux_x86_64")
    bench.index.add_sdist("bare")

    assert [wheel.version for wheel in bench.lock(["half"]).wheels] == ["1.0"]
    assert {wheel.name: wheel.version for wheel in bench.lock(["half", "bare"]).wheels} == {
        "bare": "1.0",
        "half": "1.0",
    }


def test_a_local_wheel_is_named_without_its_place(bench: Bench) -> None:
    filename = bench.index.add_wheel("local")
    for folder in ("flat", "named"):
        (bench.project / folder).mkdir()
        (bench.project / folder / filename).write_bytes(bench.index.files[filename])
    bench.index.files.clear()

    by_path = bench.lock([f"./named/{filename}"])
    bench.environment["UV_FIND_LINKS"] = str(bench.project / "flat")
    by_link = bench.lock(["local"])

    assert by_path.text == by_link.text
    row = tomllib.loads(by_link.text.decode())["packages"][0]["wheels"][0]
    assert row["path"] == f"wheels/{filename}"
    assert by_link.wheels[0].path == store.place(store.wheel_store(bench.cache), row["hashes"]["sha256"], filename)
    assert by_link.wheels[0].path.is_file()


def test_a_local_wheel_that_has_changed_or_gone_is_looked_at_again(bench: Bench) -> None:
    filename = "local-1.0-py3-none-any.whl"
    file = bench.project / filename
    file.write_bytes(package_index.wheel("local", "1.0", tag="py3-none-any"))
    first = bench.lock([f"./{filename}"])
    file.write_bytes(package_index.wheel("local", "1.0", tag="py3-none-any", payload=b"new"))
    second = bench.lock([f"./{filename}"])
    shutil.rmtree(store.wheel_store(bench.cache))
    third = bench.lock([f"./{filename}"])

    assert first.wheels[0].sha256 != second.wheels[0].sha256
    assert third == second
    assert third.wheels[0].path is not None
    assert third.wheels[0].path.is_file()


def test_a_copy_of_a_project_has_its_own_local_packages(bench: Bench) -> None:
    for version, place in (("1.0", bench.project), ("2.0", bench.project.parent / "copy")):
        for path, data in package_index.project("near", version).items():
            (place / "near").mkdir(parents=True, exist_ok=True)
            (place / "near" / path).write_bytes(data)
    first = bench.lock(["./near"])
    bench.project = bench.project.parent / "copy"

    assert [first.wheels[0].version, bench.lock(["./near"]).wheels[0].version] == ["1.0", "2.0"]


@pytest.mark.parametrize(
    ("said", "code", "named"),
    [
        (["absent"], "image.package_not_found", "absent"),
        (["pure<1", "pure>1"], "image.no_solution", "pure"),
        (["old"], "image.python_mismatch", "Python"),
        (["win"], "image.no_wheel", "win"),
        (["~/nowhere"], "image.bad_requirement", "nowhere"),
        (["./nowhere"], "image.bad_requirement", "nowhere"),
        (["compiled"], "image.needs_compiler", "compiled"),
        (["broken"], "image.build_failed", "broken"),
    ],
)
def test_what_cannot_be_had_is_told_with_a_next_step(bench: Bench, said: list[str], code: str, named: str) -> None:
    bench.index.add_wheel("pure")
    bench.index.add_wheel("old", requires_python=">=3.14")
    bench.index.add_wheel("win", tag="cp312-cp312-win_amd64")
    bench.index.add_sdist("compiled", tag="cp311-cp311-linux_x86_64")
    broken = package_index.sdist("broken", "1.0", tag="py3-none-any")
    bench.index.add("broken-1.0.tar.gz", _without_backend(broken))

    refused = bench.refused(said)

    assert refused.code == code
    assert named in refused.summary
    assert refused.next_step


def test_builds_of_pytorch_that_uv_does_not_know_are_refused(bench: Bench) -> None:
    refused = bench.refused(["pure"], torch="cu9999")

    assert (refused.code, refused.field) == ("image.unknown_torch", "image.torch")
    assert "'cu9999'" in refused.summary
    assert "cpu" in refused.next_step


def test_a_builder_with_a_compiler_gets_the_source_in_its_lock(bench: Bench) -> None:
    filename = bench.index.add_sdist("compiled", tag="cp311-cp311-linux_x86_64")

    lock = bench.lock(["compiled"], compiler=True)

    (package,) = tomllib.loads(lock.text.decode())["packages"]
    assert package["sdist"]["url"] == bench.index.file_url(filename)
    assert lock.wheels == ()


def test_an_index_that_does_not_answer_may_be_tried_again(bench: Bench) -> None:
    bench.index.fault = lambda _path, _number: "503"

    refused = bench.refused(["pure"])

    assert refused.code == "image.index_unreachable"
    assert bench.index.address in refused.summary


@pytest.mark.parametrize("way", ["url", "named", "netrc", "file"])
def test_an_index_with_a_password_is_used_and_the_password_is_nowhere(tmp_path: Path, way: str) -> None:
    with package_index.serving(password=PASSWORD) as index:
        bench = Bench(tmp_path, index, index.secret_url if way == "url" else f"mine={index.url}")
        bench.index.add_wheel("pure")
        bench.index.add_sdist("source")
        said: str | list[str] = ["pure", "source"]
        if way == "named":
            bench.environment |= {"UV_INDEX_MINE_USERNAME": USER, "UV_INDEX_MINE_PASSWORD": PASSWORD}
        elif way == "netrc":
            (tmp_path / "home" / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        elif way == "file":
            said = "requirements.txt"
            bench.write("requirements.txt", f"--index-url {index.secret_url}\npure\nsource\n")

        lock = bench.lock(said)

        assert _names(lock) == ["pure", "source"]
        assert index.file_url("pure-1.0-py3-none-any.whl") in lock.text.decode()
        kept = [file for file in bench.cache.rglob("*") if file.is_file()]
        assert kept
        assert not [file for file in kept if _has_secret(file.read_bytes())]


def test_an_index_that_refuses_is_named_with_the_ways_to_let_uv_in(tmp_path: Path) -> None:
    with package_index.serving(password=PASSWORD) as index:
        bench = Bench(tmp_path, index, index.secret_url.replace(":pa55", ":wrong"))
        refused = bench.refused(["pure"])

    assert refused.code == "image.index_refused"
    assert index.address in refused.summary
    assert "UV_INDEX_<NAME>_USERNAME" in refused.next_step
    assert "wrong" not in str(refused.to_dict())


def _names(lock: Lock) -> list[str]:
    return [wheel.name for wheel in lock.wheels]


def _has_secret(data: bytes) -> bool:
    return b"pa55" in data or b"planted" in data


def bench_file(bench: Bench, name: str) -> str:
    filename = f"{name}-1.0-py3-none-any.whl"
    return f"url = {bench.index.file_url(filename)!r}, hashes = {{ sha256 = {bench.index.digest(filename)!r} }}"


def _without_backend(data: bytes) -> bytes:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for entry in old.getmembers():
            if not entry.name.endswith("backend.py"):
                new.addfile(entry, old.extractfile(entry))
    return out.getvalue()
