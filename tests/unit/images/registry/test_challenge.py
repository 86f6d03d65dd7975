"""Reading WWW-Authenticate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.images.registry.challenge import Challenge, parse

BEARER = {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull,push"}


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ('Basic realm="Amazon ECR"', [Challenge("basic", {"realm": "Amazon ECR"})]),
        ("basic", [Challenge("basic")]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [Challenge("bearer", BEARER)],
        ),
        (
            'BEARER Realm ="https://auth.docker.io/token" ,service=registry.docker.io,scope="repository:a/b:pull,push"',
            [Challenge("bearer", BEARER)],
        ),
        (
            'Basic realm="a, b", Bearer realm="c\\"d",error=invalid_token',
            [Challenge("basic", {"realm": "a, b"}), Challenge("bearer", {"realm": 'c"d', "error": "invalid_token"})],
        ),
        (
            'Negotiate YWJj==, Basic realm="x"',
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
        ),
        ('Basic realm=""', [Challenge("basic", {"realm": ""})]),
        ("", []),
        ('"', []),
    ],
)
def test_headers_of_registries_are_read(header: str, meant: list[Challenge]) -> None:
    assert parse([header]) == meant


def test_several_headers_are_read_in_order() -> None:
    assert [found.scheme for found in parse(["Negotiate", 'Basic realm="x"'])] == ["negotiate", "basic"]


@given(st.lists(st.text()))
def test_no_header_stops_it(headers: list[str]) -> None:
    parse(headers)


_NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
_CHALLENGES = st.lists(
    st.builds(
        Challenge, st.sampled_from(["basic", "bearer", "digest"]), st.dictionaries(_NAMES, st.text(), min_size=1)
    ),
    max_size=3,
)


@given(_CHALLENGES)
def test_what_is_written_by_the_rules_is_read_back(challenges: list[Challenge]) -> None:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"')

    written = [
        f"{one.scheme} " + ", ".join(f'{name}="{quoted(value)}"' for name, value in one.parameters.items())
        for one in challenges
    ]
    assert parse([", ".join(written)]) == challenges
    assert parse(written) == challenges
