"""What was said of an image: its one form, and every problem at once."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.errors import ValidationError
from clary.image import Image
from clary.images import spec
from clary.images.spec import checked, parsed

GOOD: dict[str, Any] = {
    "base": "python:3.12",
    "requirements": ["numpy>=2", "pandas"],
    "python": "3.12",
    "torch": "cu126",
    "apt": ["libgomp1", "git=1:2.39.5-0+deb12u2"],
    "env": {"LEVEL": "info", "COUNT": 3},
    "copy": {"data/model.bin": "/opt/model.bin"},
    "code": True,
    "entrypoint": ["python", "-m", "app"],
    "user": "1000:1000",
    "workdir": "/srv",
    "platform": "linux/amd64",
    "builder": "docker",
    "repository": "team/images",
    "tag": "v1",
    "secrets": {"UV_INDEX_PASSWORD": "{{ secrets.index.password }}"},
}


def findings(**values: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        parsed(values)
    assert caught.value.code == "image.invalid"
    return {one["path"]: (one["message"], one["next_step"]) for one in caught.value.details["findings"]}


def test_every_field_has_a_form() -> None:
    assert set(spec._FORMS) == {one.name for one in fields(Image)}


def test_what_is_said_gets_its_one_form() -> None:
    image = parsed(GOOD)
    assert image.env == {"LEVEL": "info", "COUNT": "3"}
    assert image.apt == ("git=1:2.39.5-0+deb12u2", "libgomp1")
    assert image.secrets == {"UV_INDEX_PASSWORD": "{{secrets.index.password}}"}
    assert parsed(image.to_dict()) == image
    assert checked(image) == image
    assert parsed({}) == Image()
    assert Image().to_dict() == {}


def test_other_spellings_and_other_tools_names() -> None:
    image = parsed({"base-image": "a/b:1", "apt_packages": ["git"], "python_version": 3.12, "copy": ["a/b:/opt/b"]})
    assert image == Image(base="a/b:1", apt=("git",), python="3.12", copy={"a/b": "/opt/b"})


@pytest.mark.parametrize(
    ("values", "path", "step"),
    [
        ({"requirments": []}, "image.requirments", "requirements"),
        ({"base": "a", "base_image": "b"}, "image.base_image", "once"),
        ({"requirements": ["-r more.txt"]}, "image.requirements", "requirements file"),
        ({"requirements": [1]}, "image.requirements", "quotes"),
        ({"python": 3.1}, "image.python", '"3.10"'),
        ({"python": "3.12.4"}, "image.python", "3.12"),
        ({"python": "2.7"}, "image.python", "3.12"),
        ({"python": True}, "image.python", "quotes"),
        ({"torch": "cuda12"}, "image.torch", "cu126"),
        ({"apt": "git"}, "image.apt", "list"),
        ({"apt": ["git; rm -rf /"]}, "image.apt", "name"),
        ({"env": {"A B": "1"}}, "image.env", "letters"),
        ({"env": {"CLARY_RUN": "1"}}, "image.env", "another"),
        ({"env": {"A": True}}, "image.env", '"true"'),
        ({"env": {"A": ["x"]}}, "image.env", "quotes"),
        ({"env": {"TOKEN": "{{secrets.api.token}}"}}, "image.env", "environment"),
        ({"env": "A=1"}, "image.env", "NAME"),
        ({"secrets": {"TOKEN": "plain-text"}}, "image.secrets", "{{secrets.NAME.KEY}}"),
        ({"copy": ["odd"]}, "image.copy", "odd:/opt/odd"),
        ({"copy": {"../x": "/opt/x"}}, "image.copy", "below"),
        ({"copy": {"/etc/passwd": "/opt/x"}}, "image.copy", "below"),
        ({"copy": {"x": "opt/x"}}, "image.copy", "/opt/app"),
        ({"copy": {"x": "/opt/ml/input"}}, "image.copy", "/opt/app"),
        ({"copy": {"x": "/opt/clary/venv/x"}}, "image.copy", "/opt/app"),
        ({"copy": {"x": "/opt/../proc/x"}}, "image.copy", "/opt/app"),
        ({"code": "yes"}, "image.code", "true or false"),
        ({"entrypoint": "python app.py"}, "image.entrypoint", '["python", "app.py"]'),
        ({"user": "root; true"}, "image.user", "uid"),
        ({"platform": "linux/amd46"}, "image.platform", "linux/amd64"),
        ({"platform": "windows/amd64"}, "image.platform", "linux/amd64"),
        ({"builder": "dockr"}, "image.builder", "docker"),
        ({"repository": "Team"}, "image.repository", "a-z"),
        ({"tag": "a/b"}, "image.tag", "128"),
        ({"base": ""}, "image.base", "Leave it out"),
        ({"base": 1}, "image.base", "quotes"),
        ({"requirements": [""]}, "image.requirements", "Leave it out"),
        ({"tag": "clary-" + "0" * 32}, "image.tag", "another tag"),
        ({"copy": {"x": "/"}}, "image.copy", "/opt/app"),
        ({"copy": {"x": "/opt/a\nb"}}, "image.copy", "/opt/app"),
        ({"copy": {"x": "/opt/a\\b"}}, "image.copy", "/opt/app"),
        ({"workdir": "/a\nb"}, "image.workdir", "/opt/app"),
        ({"workdir": "/a\0b"}, "image.workdir", "character"),
        ({"env": {"A": "a\0b"}}, "image.env", "character"),
        ({"env": {"A": "\udcff"}}, "image.env", "character"),
        ({"entrypoint": ["a\0b"]}, "image.entrypoint", "character"),
        ({"entrypoint": ["\udcff"]}, "image.entrypoint", "character"),
        ({"user": "4294967296"}, "image.user", "smaller"),
        ({"user": "1000:2147483648"}, "image.user", "smaller"),
        ({"dockerfile": "Dockerfile", "apt": ["git"]}, "image.apt", "Dockerfile"),
        ({"dockerfile": "Dockerfile", "base": "python:3.12"}, "image.base", "Dockerfile"),
        ({"context": "."}, "image.context", "Dockerfile"),
        ({"requirements": ["numpy"], "extras": ["gpu"]}, "image.extras", "extras"),
    ],
)
def test_what_is_wrong_is_named_with_a_way_out(values: dict[str, Any], path: str, step: str) -> None:
    found = findings(**values)
    assert set(found) == {path}
    assert step in found[path][1]


def test_words_of_an_entry_point_are_what_they_are() -> None:
    assert parsed({"entrypoint": [" a ", ""]}).entrypoint == (" a ", "")


def test_a_place_that_ends_in_a_slash_stays_a_folder() -> None:
    image = parsed({"copy": ["a:/usr/", "b:/opt/b", "c://opt//c/"], "tag": "clary-1"})
    assert image.copy == {"a": "/usr/", "b": "/opt/b", "c": "/opt/c/"}
    assert parsed(image.to_dict()) == image


def test_a_part_of_what_is_said_need_not_stand_by_itself() -> None:
    assert parsed({"context": "."}, whole=False).context == "."
    assert set(findings(context=".")) == {"image.context"}


def test_all_problems_are_told_at_once_and_none_is_a_secret() -> None:
    found = findings(apt="git", code=1, env={"PASSWORD": "{{secrets.db.password}}"}, secrets={"A": "hunter2"})
    assert set(found) == {"image.apt", "image.code", "image.env", "image.secrets"}
    assert "hunter2" not in str(found)


def test_a_dockerfile_may_stand_beside_what_it_cannot_say() -> None:
    image = parsed({"dockerfile": "Dockerfile", "context": "..", "builder": "docker", "repository": "x1", "tag": "t"})
    assert image.dockerfile == "Dockerfile"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*spec.NAMES, *spec.ALIASES, "other"]), values, max_size=6))
def test_nothing_but_an_image_or_its_findings_comes_of_anything(said: dict[str, Any]) -> None:
    try:
        image = parsed(said)
    except ValidationError as error:
        found = error.details["findings"]
        image = None
    if image is None:
        assert found
        assert all(one["next_step"] for one in found)
    else:
        assert parsed(image.to_dict()) == image
