from __future__ import annotations

import pytest

from clary.errors import ConfigError
from clary.images.packages import uv_words

_SETTINGS = """\
warning: Failed to parse `pyproject.toml` during settings discovery:
  TOML parse error at line 7, column 14
    |
  7 | prerelease = "alow"
    |              ^^^^^^
  unknown variant `alow`, expected one of `disallow`, `allow`

Resolved 1 package in 109ms
"""
_SAID = """\
Using CPython 3.11.7 interpreter at: /usr/bin/python3
warning: `attrs==21.1.0` is yanked (reason: "not
  importable.")
warning: The requested Python version 3.12 is not available; 3.11.7 will be used to build dependencies instead.
   Building near @ file:///near
error: No solution found when resolving dependencies
  cause: Because you require a, no.
"""


def test_warnings_are_notes_in_one_line_each() -> None:
    assert uv_words.notes(_SAID) == ('uv warns: `attrs==21.1.0` is yanked (reason: "not importable.").',)


def test_an_error_is_told_without_what_stands_around_it() -> None:
    error = "error: No solution found when resolving dependencies\n  cause: Because you require a, no."
    assert uv_words.without_asides(_SAID) == error
    assert uv_words.without_asides("warning: only this") == "warning: only this"


def test_settings_that_uv_drops_are_refused() -> None:
    uv_words.check_settings(_SAID)
    with pytest.raises(ConfigError) as caught:
        uv_words.check_settings(_SETTINGS)

    assert caught.value.code == "image.bad_settings"
    assert "pyproject.toml: unknown variant `alow`, expected one of `disallow`, `allow`." in caught.value.summary
