"""What a build is told of the indexes that its secrets are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.image import Image
from clary.images.builders.index_logins import with_indexes
from clary.images.building import Order
from clary.images.reference import Reference


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "my-team"\nurl = "https://index.example/simple"\n'
        '[[tool.uv.index]]\nname = "other"\nurl = "https://ada:word@other.example/simple"\n'
    )
    return tmp_path


def told(project: Path, secrets: dict[str, str], environment: dict[str, str] | None = None) -> dict[str, str]:
    target = Reference("registry.example", "a", "t")
    order = Order(Image(requirements=["x"]), project, None, target, None, lock=b"a lock", secrets=secrets)
    return dict(with_indexes(order, {"HOME": str(project), **(environment or {})}).secrets)


USER, WORD = "UV_INDEX_MY_TEAM_USERNAME", "UV_INDEX_MY_TEAM_PASSWORD"


def test_an_index_that_a_secret_is_for_is_named_with_its_address(project: Path) -> None:
    given = {USER: "ada", WORD: "word"}
    assert told(project, given) == {**given, "UV_INDEX": "my-team=https://index.example/simple"}


def test_the_user_may_be_known_here(project: Path) -> None:
    found = told(project, {WORD: "word"}, {USER: "ada"})
    assert found == {USER: "ada", WORD: "word", "UV_INDEX": "my-team=https://index.example/simple"}


def test_nothing_is_told_that_no_secret_is_for(project: Path) -> None:
    assert told(project, {"TOKEN": "x"}) == {"TOKEN": "x"}
    assert told(project, {}, {WORD: "word"}) == {}


def test_a_list_that_is_itself_a_secret_is_kept(project: Path) -> None:
    given = {"UV_INDEX": "https://a:b@c.example/simple my-team=https://index.example/simple", WORD: "word"}
    assert told(project, given)["UV_INDEX"] == given["UV_INDEX"]
    given["UV_INDEX"] = "https://a:b@c.example/simple"
    assert told(project, given)["UV_INDEX"] == f"{given['UV_INDEX']} my-team=https://index.example/simple"
