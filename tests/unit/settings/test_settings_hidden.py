"""Literal secrets among variables: which are left out of what is frozen, and where their texts come from again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.settings import hidden
from clary.settings.effective import Effective, thawed
from clary.settings.layers import Layer

SECRET = "hunter2hunter2"


def layer(origin: str, **settings: Any) -> Layer:
    return Layer(origin, {}, settings, f"by {origin}")


def frozen(*layers: Layer) -> list[Layer]:
    kept = json.loads(json.dumps(Effective.of(layers).frozen({})))
    assert SECRET not in json.dumps(kept)
    found = thawed(kept)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("API_TOKEN", SECRET, True),
        ("DATABASE_URL", f"postgres://me:{SECRET}@db/x", True),
        ("DATABASE_URL", "postgres://me:{{secrets.db.PASSWORD}}@db/x", False),
        ("API_TOKEN", "{{secrets.api.TOKEN}}", False),
        ("API_TOKEN", 5, False),
        ("MODE", "fast", False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: Any, is_secret: bool) -> None:
    assert hidden.is_secret(name, value) is is_secret
    assert (hidden.left_out({name: value}) == {name: value}) is not is_secret


@pytest.mark.parametrize(
    "settings",
    [
        {"environment": {"API_TOKEN": SECRET, "MODE": "fast"}},
        {"env": {"API_TOKEN": SECRET, "MODE": "fast"}},
        {"request": {"Environment": {"API_TOKEN": SECRET, "MODE": "fast"}, "EnableNetworkIsolation": True}},
    ],
)
def test_a_further_attempt_has_what_the_job_was_sent(settings: dict[str, Any]) -> None:
    said = layer("run", instance_type="ml.m5.large", **settings)
    kept = frozen(said)
    assert hidden.unknown(kept) == ["API_TOKEN"]
    for path in ("environment.API_TOKEN", "request.Environment.API_TOKEN"):
        assert hidden.put_back(kept, [], {"API_TOKEN": SECRET}, {path: "by run"}) == [said]


def test_a_text_that_was_not_sent_comes_from_where_it_was_said() -> None:
    token = {"API_TOKEN": SECRET}
    kept = frozen(layer("saved", environment=token), layer("run", environment={"PASSWORD": SECRET}))
    now = [layer("saved", environment=token), layer("environment", environment={"PASSWORD": "now", "API_TOKEN": "no"})]
    found = hidden.put_back(kept, now, {"API_TOKEN": "of the flow"}, {"environment.API_TOKEN": "by flow"})
    assert [one.settings for one in found] == [{"environment": token}, {"environment": {"PASSWORD": "now"}}]
    assert hidden.unknown(found) == []


def test_what_nobody_knows_is_named_unless_a_stronger_layer_says_it() -> None:
    kept = frozen(layer("saved", environment={"API_TOKEN": SECRET}))
    assert hidden.unknown(hidden.put_back(kept, [], {}, {})) == ["API_TOKEN"]
    assert hidden.unknown([*kept, layer("run", environment={"API_TOKEN": "new"})]) == []
