"""Options of components: whatever is given is judged and never breaks; what is accepted stays, and merges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.cli.component_options import split
from clary.errors import ClaryError
from clary.sagemaker.settings_layers import merge
from clary.stacks import flavors
from clary.stacks.changes import mended
from clary.stacks.components import Component, make
from clary.stacks.flavors import KINDS, Flavor

ROLE = "arn:aws:iam::123456789012:role/team"
EVERY = [flavors.find(kind, name) for kind in KINDS for name in flavors.names(kind)]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "region": st.sampled_from(["us-east-1", "eu-central-1"]),
    "execution_role": st.sampled_from([ROLE, f"{ROLE}/other"]),
    "image": st.text(min_size=1, max_size=10).filter(str.strip),
    "synchronous": st.booleans(),
    "volume_size_in_gb": st.integers(1, 1000),
    "instance_type": st.sampled_from(["ml.m5.large", ["ml.m5.large", "ml.m5.xlarge"]]),
    "tags": st.dictionaries(st.sampled_from(["team", "cost-center", "a_b"]), st.sampled_from(["x", "y"]), max_size=3),
    "environment": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"]), max_size=2),
}
"""Options of the sagemaker orchestrator with values that it takes."""


def some(*, whole: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Options that fit; with ``whole`` all that are needed are among them."""
    needed = ("region", "execution_role") if whole else ()
    return st.fixed_dictionaries(
        {name: FITTING[name] for name in needed},
        optional={name: values for name, values in FITTING.items() if name not in needed},
    )


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("flavor", EVERY, ids=lambda flavor: f"{flavor.kind}.{flavor.name}")
def test_whatever_is_given_is_judged(flavor: Flavor, data: st.DataObject) -> None:
    known = [option.name for option in flavor.options] + [name.replace("_", "-") for name in flavor.known()[:40]]
    names = st.text(max_size=10) if not known else st.sampled_from(known) | st.text(max_size=10)
    options = data.draw(st.dictionaries(names, ANYTHING, max_size=4))
    found, problems = flavor.canonical(options)
    assert all(problem.message for problem in problems)
    if not problems:
        assert plain(flavor.canonical(plain(found))) == plain((found, []))


@settings(max_examples=50, deadline=None)
@given(options=some(whole=True))
def test_what_is_accepted_stays_as_it_is(options: dict[str, Any]) -> None:
    made = make("orchestrator", "a", "sagemaker", options)
    assert make("orchestrator", "a", "sagemaker", made.options) == made
    hyphened = {name.replace("_", "-"): value for name, value in options.items()}
    assert make("orchestrator", "a", "sagemaker", hyphened) == made


@settings(max_examples=50, deadline=None)
@given(base=some(whole=True), one=some(), two=some())
def test_updates_one_by_one_and_together_are_the_same(
    base: dict[str, Any], one: dict[str, Any], two: dict[str, Any]
) -> None:
    made = make("orchestrator", "a", "sagemaker", base)
    together = mended(made, merge(one, two))
    assert mended(mended(made, one), two) == together
    assert mended(together, {}) == together
    assert mended(made, made.options) == made


@settings(max_examples=50, deadline=None)
@given(base=some(whole=True), one=some())
def test_what_was_added_can_be_taken_out(base: dict[str, Any], one: dict[str, Any]) -> None:
    made = make("orchestrator", "a", "sagemaker", base)
    new = [name for name in one if name not in base]
    assert mended(mended(made, {name: one[name] for name in new}), {}, new) == made


NAMES = st.from_regex(r"[a-z][a-z_.-]{0,10}", fullmatch=True).filter(lambda name: name.strip("-_.") == name)
VALUES = st.text(max_size=20)


@given(options=st.lists(st.tuples(NAMES, VALUES)), words=st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True)))
def test_options_and_words_are_told_apart_in_any_order(options: list[tuple[str, str]], words: list[str]) -> None:
    typed = [*words]
    for name, value in options:
        typed += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
    assert split(typed, {}) == (words, options)


@given(words=st.lists(st.text(alphabet="-=ab f", max_size=6)))
def test_no_word_is_lost(words: list[str]) -> None:
    try:
        ours, theirs = split(words, {"-f": True, "--a": True, "-b": False})
    except ClaryError:
        return
    said = sorted([*ours, *(f"--{name}" for name, _ in theirs), *(value for _, value in theirs)])
    apart = [
        part
        for word in words
        for part in (word.split("=", 1) if word.startswith("--") and word not in ours and "=" in word else [word])
    ]
    assert said == sorted(apart)


def test_the_store_gives_back_what_was_made() -> None:
    made = make("orchestrator", "a", "sagemaker", {"region": "us-east-1", "execution_role": ROLE})
    assert Component(**plain(made.to_dict())) == made
