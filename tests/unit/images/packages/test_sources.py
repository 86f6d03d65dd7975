from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clary.errors import ClaryError
from clary.images.packages import documents, sources
from clary.images.packages.sources import Kind

if TYPE_CHECKING:
    from pathlib import Path

_PYPROJECT = """\
[project]
name = "mine"
version = "1"
dependencies = ["numpy>=2", "clary[sandbox]"]
[project.optional-dependencies]
Plots = ["matplotlib"]
[dependency-groups]
train = ["torch"]
"""
_SCRIPT = """\
# /// script
# requires-python = ">=3.12"
# dependencies = [
#   "numpy",
# ]
#
# [tool.uv]
# index-url = "https://example.com/simple"
# ///
print("hello")
"""


def test_a_project_is_read_in_order_of_how_exact_it_is(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)
    found = [_found(tmp_path)]
    for name in ("requirements.txt", "pylock.toml", "uv.lock"):
        (tmp_path / name).write_text("")
        found.append(_found(tmp_path))

    assert found == [Kind.PYPROJECT, Kind.REQUIREMENTS, Kind.PYLOCK, Kind.UV_LOCK]


def test_a_lock_of_uv_without_its_project_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("")

    assert sources.find(tmp_path) is None


def test_a_member_of_a_workspace_has_the_lock_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["libs/*"]\nexclude = ["libs/other"]\n')
    for name in ("mine", "other"):
        (tmp_path / "libs" / name).mkdir(parents=True)
        (tmp_path / "libs" / name / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')

    member = sources.find(tmp_path / "libs" / "mine")

    assert member is not None
    assert (member.kind, member.folder) == (Kind.UV_LOCK, tmp_path)
    assert sources.find(tmp_path / "libs" / "other") is None


@pytest.mark.parametrize(
    "text",
    ["", "[tool.black]\n", '[project]\nname = "x"\nversion = "1"\n', '[project]\nname = "x"\ndependencies = []\n'],
)
def test_a_project_that_needs_nothing_has_no_source(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    assert sources.find(tmp_path) is None


def test_requirements_that_a_backend_computes_count(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n')

    assert _found(tmp_path) is Kind.PYPROJECT


def test_groups_of_a_project_without_requirements_count(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ntrain = ["torch"]\n')

    found = sources.find(tmp_path, groups=["train"])

    assert found is not None
    assert found.groups == ("train",)


@pytest.mark.parametrize(
    ("name", "text", "way"),
    [
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.12"\nnumpy = "*"\n', "poetry export"),
        ("Pipfile", '[packages]\nnumpy = "*"\n', "pipenv requirements"),
    ],
)
def test_a_project_of_another_tool_is_not_taken_for_one_that_needs_nothing(
    tmp_path: Path, name: str, text: str, way: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ClaryError) as caught:
        sources.find(tmp_path)

    assert caught.value.code == "image.unknown_requirements"
    assert way in caught.value.next_step
    assert sources.read([], tmp_path) is None


def test_an_empty_list_requires_nothing_and_none_looks(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")

    assert sources.read([], tmp_path) is None
    assert _found(tmp_path) is Kind.REQUIREMENTS
    assert sources.read(None, tmp_path) == sources.find(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("requirements/train.txt", "numpy\n", Kind.REQUIREMENTS),
        ("base.in", "numpy\n", Kind.REQUIREMENTS),
        ("pyproject.toml", _PYPROJECT, Kind.PYPROJECT),
        ("pylock.train.toml", "", Kind.PYLOCK),
        ("train.py", _SCRIPT, Kind.SCRIPT),
    ],
)
def test_a_file_is_known_by_its_name(tmp_path: Path, name: str, text: str, kind: Kind) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)

    source = sources.read(name, tmp_path)

    assert source is not None
    assert (source.kind, str(source)) == (kind, name)


def test_the_header_of_a_script_is_read_and_its_body_is_not(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_SCRIPT)

    header = documents.script_header(tmp_path / "train.py")

    assert header["dependencies"] == ["numpy"]
    assert header["tool"]["uv"]["index-url"] == "https://example.com/simple"


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        ("requirement.txt", "image.requirements_not_found", "requirements.txt"),
        ("numpy>=2", "image.requirements_not_found", '["numpy>=2"]'),
        (["-r requirements.txt"], "image.pip_option", 'requirements = "requirements.txt"'),
        (["--index-url=https://u:secret@x/simple"], "image.pip_option", "UV_DEFAULT_INDEX"),
        (["-e ."], "image.pip_option", "./libs/mine"),
        (["--frobnicate"], "image.pip_option", "requirements file"),
        (["numpy=>2"], "image.bad_requirement", "numpy>=2.1"),
        (["=2"], "image.bad_requirement", "numpy>=2.1"),
        ("Pipfile", "image.unknown_requirements", "pipenv requirements"),
        ("train.yaml", "image.unknown_requirements", "pylock.toml"),
        ("plain.py", "image.unknown_requirements", "PEP 723"),
        ("broken.py", "image.bad_toml", "PEP 723"),
    ],
)
def test_what_is_no_requirement_is_refused_with_what_to_write(
    tmp_path: Path, said: str | list[str], code: str, hint: str
) -> None:
    for name in ("requirements.txt", "Pipfile", "train.yaml", "plain.py"):
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("# /// script\n# dependencies = [\n# ///\n")

    with pytest.raises(ClaryError) as caught:
        sources.read(said, tmp_path)

    assert caught.value.code == code
    assert hint in caught.value.next_step
    assert "secret" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    "one", ["./libs/mine", "../mine", "git+https://example.com/x.git@v1", "https://x/y.whl", "a @ git+ssh://git@h/x"]
)
def test_paths_and_urls_are_requirements(tmp_path: Path, one: str) -> None:
    assert sources.read([one], tmp_path) is not None


def test_a_login_in_a_bad_requirement_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(ClaryError) as caught:
        sources.read(["x y @ https://user:secret@host/x.whl"], tmp_path)

    assert "secret" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    ("extras", "groups", "code", "hint"),
    [
        (["plot"], [], "image.unknown_extra", "'plots'"),
        (["gpu"], [], "image.unknown_extra", "Plots"),
        ([], ["trian"], "image.unknown_group", "'train'"),
    ],
)
def test_an_extra_or_group_that_is_not_there_is_refused(
    tmp_path: Path, extras: list[str], groups: list[str], code: str, hint: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)

    with pytest.raises(ClaryError) as caught:
        sources.find(tmp_path, extras=extras, groups=groups)

    assert caught.value.code == code
    assert hint in caught.value.next_step


def test_extras_are_compared_as_names_of_packages_are(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)

    assert sources.find(tmp_path, extras=["plots"]) is not None


def test_a_project_without_a_pyproject_has_no_extras(tmp_path: Path) -> None:
    with pytest.raises(ClaryError) as caught:
        sources.find(tmp_path, extras=["plots"])

    assert caught.value.code == "image.extras_unusable"
    assert "a project without a pyproject.toml has none" in caught.value.summary


def test_extras_and_groups_are_read_by_any_spelling_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["a"]\n[project.optional-dependencies]\nFoo_Bar = ["b"]\n'
        '[dependency-groups]\n"Dev.Tools" = ["c", {include-group = "In_Ner"}]\nin-ner = ["d", '
        '{include-group = "dev-tools"}]\n[tool.uv]\ndev-dependencies = ["e"]\n'
    )

    found = sources.find(tmp_path, extras=["foo-bar"], groups=["dev_tools", "Dev"])

    assert found is not None
    assert found.asked() == ["a", "b", "c", "d", "e"]


def test_the_project_of_a_file_below_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    for folder in (tmp_path, tmp_path / "env"):
        (folder / "pyproject.toml").write_text(_PYPROJECT)
        (folder / "uv.lock").write_text("")

    for name in ("env/uv.lock", "env/pyproject.toml"):
        source = sources.read(name, tmp_path)
        assert source is not None
        assert sources.project_file(source) == tmp_path / "env" / "pyproject.toml"


@pytest.mark.parametrize("said", [["numpy"], "requirements.txt", "train.py"])
def test_only_a_project_has_extras(tmp_path: Path, said: str | list[str]) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "train.py").write_text(_SCRIPT)

    with pytest.raises(ClaryError) as caught:
        sources.read(said, tmp_path, extras=["plots"])

    assert caught.value.code == "image.extras_unusable"


@pytest.mark.parametrize(
    ("name", "text", "mentioned"),
    [
        ("requirements.txt", "Clary[sandbox]>=1\n", True),
        ("requirements.txt", "clary-tools\n", False),
        ("pyproject.toml", _PYPROJECT, True),
        ("train.py", _SCRIPT, False),
        ("pylock.toml", '[[packages]]\nname = "clary"\n', True),
    ],
)
def test_clary_itself_is_seen_among_the_requirements(tmp_path: Path, name: str, text: str, mentioned: bool) -> None:
    (tmp_path / name).write_text(text)
    source = sources.read(name, tmp_path)

    assert source is not None
    assert source.mentions_own() is mentioned


def _found(project: Path) -> Kind | None:
    source = sources.find(project)
    return source.kind if source else None
