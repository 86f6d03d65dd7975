"""What is a reference to a secret, and what only looks like one."""

from __future__ import annotations

import pytest

from clary.errors import ConfigError, ValidationError
from clary.secrets import references
from clary.secrets.references import Reference


def test_references_are_found_where_they_stand() -> None:
    text = "postgres://{{secrets.db.USER}}:{{ secrets.db.PASS-WORD }}@{{host}}/{{ secrets.o_1-x.a.b }}"
    found = references.find(text)
    assert found == [Reference("db", "USER"), Reference("db", "PASS-WORD"), Reference("o_1-x", "a.b")]
    values = dict(zip(found, ["me", "{{secrets.db.USER}}", "\\1"], strict=True))
    filled = references.filled(text, values.__getitem__)
    assert filled == "postgres://me:{{secrets.db.USER}}@{{host}}/\\1"  # what was filled in is left as it is


@pytest.mark.parametrize(
    "text", ["", "{{ other.x }}", "{secrets.a.b}", "{{secretsmanager.a}}", "secrets.a.b", "{{a}} b"]
)
def test_other_texts_hold_none(text: str) -> None:
    assert not references.has(text)
    assert references.find(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{secrets.a}}",
        "{{secrets}}",
        "{{ secrets.a. }}",
        "{{secrets.a.b",
        "{{secrets.a b.c}}",
        "{{secret.a.b}}",
        "{{secrets..b}}",
    ],
)
def test_a_malformed_one_is_refused_with_the_form(text: str) -> None:
    assert references.has(text)
    with pytest.raises(ValidationError) as caught:
        references.find(f"before {text}", field="environment.X")
    assert (caught.value.code, caught.value.field) == ("secret.bad_reference", "environment.X")


def test_places_names_the_paths_of_plain_data() -> None:
    data = {"tags": {"a": "x", "b": "{{secrets.n.K}}"}, "list": ["", "{{ secrets.n.K }}"], "n": 3}
    assert list(references.places(data)) == [("tags.b", "{{secrets.n.K}}"), ("list[1]", "{{ secrets.n.K }}")]


def test_a_secret_made_by_others_is_read_as_texts() -> None:
    text = '{"host": "h", "port": 5432, "tls": true, "none": null}'
    assert references.values_of(text, "db") == {"host": "h", "port": "5432", "tls": "true", "none": "null"}


@pytest.mark.parametrize("text", ["", "plain hunter2", "[1]", '"hunter2"'])
def test_a_secret_without_keys_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        references.values_of(text, "db")
    assert caught.value.code == "secret.not_keys"
    assert "hunter2" not in str(caught.value)
