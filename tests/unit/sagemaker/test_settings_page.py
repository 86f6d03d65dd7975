"""The reference page of the job settings and the model say the same, in both directions."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from clary.sagemaker import aliases
from clary.sagemaker.limits import service_model
from clary.sagemaker.requests import JobCode, training_request
from clary.sagemaker.settings_model import NAMES, Channel, JobSettings
from clary.sagemaker.settings_requests import MEMBERS
from sagemaker_requests import IMAGE, ROLE

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "job-settings.md").read_text(encoding="utf-8")


def rows(title: str) -> dict[str, str]:
    """Return the first two columns of the tables below a heading."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", section, re.MULTILINE))


def test_every_setting_is_on_the_page_and_every_row_is_a_setting() -> None:
    assert tuple(rows("Settings")) == NAMES
    assert tuple(rows("A channel of `input_data`")) == tuple(known.name for known in fields(Channel))


def test_every_other_name_is_on_the_page() -> None:
    told = rows("Names from other tools")
    known = {**aliases.ALIASES, **aliases.SDK_ALIASES, **aliases.SDK_REFUSED, **aliases.REFUSED}
    assert set(told) == {name for name, ours in known.items() if name != ours}
    for name, ours in {**aliases.SDK_ALIASES, **aliases.ALIASES}.items():
        if name != ours:
            assert told[name].strip() == f"`{ours}`"


def test_every_setting_reaches_a_member_of_the_request() -> None:
    assert set(NAMES) - set(MEMBERS.values()) == {"request", "input_mode"}


@pytest.mark.parametrize("path", MEMBERS)
def test_every_member_is_one_of_the_loaded_model(path: str) -> None:
    shapes = service_model()["shapes"]
    shape = shapes["CreateTrainingJobRequest"]
    for name in path.split("."):
        shape = shapes[shape["members"][name]["shape"]]


def test_every_member_is_filled_by_its_setting() -> None:
    """A setting that is changed changes the request at its member, or below it, and nowhere else."""
    code = JobCode(image=IMAGE, output_s3_uri="s3://bucket/out")
    plain = JobSettings(execution_role=ROLE, use_spot=False, max_wait_in_seconds=1)
    for name in set(MEMBERS.values()):
        before = getattr(plain, name)
        after = {bool: True, int: 7, tuple: ("x", "y"), dict: {"k": "v"}}.get(type(before), "Vpc")
        if name == "input_data":
            after = {"k": Channel(uri="s3://bucket/x")}
        elif name.endswith(("_seconds", "_attempts")):
            after = 7
        values: dict[str, Any] = {name: after}
        changed = different(training_request("n", plain, code), training_request("n", replace(plain, **values), code))
        mine = [member for member, setting in MEMBERS.items() if setting == name]
        assert changed, name
        assert all(any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in mine) for path in changed), (
            name
        )


def different(one: Any, other: Any, at: str = "") -> set[str]:
    """Return the paths at which two requests differ."""
    if isinstance(one, dict) or isinstance(other, dict):
        first, second = one or {}, other or {}
        found = set()
        for name in first.keys() | second.keys():
            found |= different(first.get(name), second.get(name), f"{at}.{name}" if at else name)
        return found
    return set() if one == other else {at}
