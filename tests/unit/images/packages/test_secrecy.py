from __future__ import annotations

import pytest

from clary.images.packages.secrecy import masked, scrubbed


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pa55@host/simple", "https://host/simple"),
        ("'https://user:pa55/w0rd@host:1/simple'", "'https://host:1/simple'"),
        ("https://user:pa55@w0rd@host/simple, b", "https://host/simple, b"),
        ("https://token@host/simple", "https://host/simple"),
        ("git+ssh://git@host:22/tool.git@v1", "git+ssh://host:22/tool.git@v1"),
        ("tool @ git+https://host:8080/tool.git@v1", "tool @ git+https://host:8080/tool.git@v1"),
        ("https://host/simple and a@b", "https://host/simple and a@b"),
    ],
)
def test_a_url_is_shown_without_its_login(text: str, clean: str) -> None:
    assert scrubbed(text) == clean


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("UV_INDEX_TEAM_PASSWORD", "s3cret/value", "s3cret/value, s3cret%2Fvalue"),
        ("UV_INDEX", "team=https://user:12/s3cret@host/simple other", "12/s3cret"),
        ("UV_DEFAULT_INDEX", "https://user:12%2Fs3cret@host/simple", "12/s3cret, 12%2Fs3cret"),
        ("GIT_TOKEN", "s3cret", "s3cret"),
    ],
)
def test_secrets_of_the_environment_are_shown_nowhere(name: str, value: str, text: str) -> None:
    assert "s3cret" not in masked(f"error: {text}", {name: value, "LEVEL": "error"})
    assert masked("error: nothing", {name: value}) == "error: nothing"
