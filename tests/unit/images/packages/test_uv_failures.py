from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clary.errors import Retry
from clary.images.building import Python
from clary.images.packages import uv_failures
from clary.images.packages.sources import Kind, Source

if TYPE_CHECKING:
    from pathlib import Path

_PYTHON = Python("3.12", "/usr/bin/python3", libc_version=(2, 36))
# ruff: noqa: E501 - the words of uv, as they are
_SAID = {
    "image.package_not_found": """\
error: No solution found when resolving dependencies
  cause: Because nosuch was not found in the package registry and you require nosuch, we can conclude that your requirements are unsatisfiable.
""",
    "image.no_solution": """\
error: No solution found when resolving dependencies
  cause: Because you require numpy<2 and numpy>2, we can conclude that your requirements are unsatisfiable.
""",
    "image.python_mismatch": """\
error: No solution found when resolving dependencies
  cause: Because the requested Python version (>=3.10) does not satisfy Python>=3.11 and numpy==2.3.1 depends on Python>=3.11, we can conclude that numpy==2.3.1 cannot be used.
         And because you require numpy==2.3.1, we can conclude that your requirements are unsatisfiable.

hint: The `--python-version` value (>=3.10) includes Python versions that are not supported by your dependencies
""",
    "image.no_wheel": """\
error: No solution found when resolving dependencies
  cause: Because bb==2.0 has no wheels with a matching Python ABI tag (e.g., `cp312`) and you require bb==2.0, we can conclude that your requirements are unsatisfiable.

hint: You require CPython 3.12 (`cp312`), but we only found wheels for `bb` (v2.0) with the following Python ABI tag: `cp311`
""",
    "image.index_refused": """\
error: No solution found when resolving dependencies
  cause: Because aa was not found in the package registry and you require aa, we can conclude that your requirements are unsatisfiable.

hint: An index URL (https://packages.example.com/simple) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)
""",
    "image.index_unreachable": """\
error: Request failed after 3 retries in 9.2s
  cause: Failed to fetch: https://builder:pa55@packages.example.com/whl/cpu/torch/
  cause: error sending request for url (https://builder:pa55@packages.example.com/whl/cpu/torch/)
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
""",
    "image.disk_full": "error: failed to write to file `/x`: No space left on device (os error 28)\n",
    "image.bad_requirement": """\
error: Couldn't parse requirement in `requirements.txt` at position 0
  cause: Expected one of `@`, `(`, `<`, `=`, `>`, `~`, `!`, `;`, found `b`
""",
    "image.build_failed": """\
error: Failed to download and build `dyn==1.0`
  cause: `/tmp/x/src` does not appear to be a Python project
""",
    "image.resolve_failed": "error: something that nobody has seen before\n",
}
_NEXT = {
    "image.package_not_found": "private index",
    "image.no_solution": "Loosen",
    "image.python_mismatch": "another base",
    "image.no_wheel": "no source either",
    "image.index_refused": "UV_INDEX_<NAME>_PASSWORD",
    "image.index_unreachable": "HTTPS_PROXY",
    "image.disk_full": "UV_CACHE_DIR",
    "image.bad_requirement": "line",
    "image.build_failed": "docker or kaniko",
    "image.resolve_failed": "details",
}


@pytest.mark.parametrize("code", list(_SAID))
def test_what_uv_says_becomes_an_error_with_a_next_step(tmp_path: Path, code: str) -> None:
    error = uv_failures.told(_SAID[code], Source(Kind.LIST, tmp_path, listed=("x",)), _PYTHON)

    assert error.code == code
    assert _NEXT[code] in error.next_step
    assert "pa55" not in str(error.to_dict())


def test_the_explanation_is_short_and_the_whole_is_in_the_details(tmp_path: Path) -> None:
    error = uv_failures.told(_SAID["image.no_solution"], Source(Kind.LIST, tmp_path), _PYTHON)

    assert error.summary == "No versions fit all of the list of requirements: Because you require numpy<2 and numpy>2."
    assert "unsatisfiable" in error.details["output"]


def test_a_missing_wheel_is_told_with_the_target(tmp_path: Path) -> None:
    error = uv_failures.told(_SAID["image.no_wheel"], Source(Kind.LIST, tmp_path), _PYTHON)

    assert error.summary == "There is no wheel of bb for Python 3.12 on x86_64 with glibc 2.36."


def test_the_host_of_an_index_is_told_and_may_be_tried_again(tmp_path: Path) -> None:
    error = uv_failures.told(_SAID["image.index_unreachable"], Source(Kind.LIST, tmp_path), _PYTHON)

    assert "packages.example.com" in error.summary
    assert error.retry is Retry.LATER


def test_a_long_explanation_is_cut_between_words(tmp_path: Path) -> None:
    text = "error: No solution found when resolving dependencies\n  cause: Because " + "word " * 1000

    error = uv_failures.told(text, Source(Kind.LIST, tmp_path), _PYTHON)

    assert len(error.summary) < 800
    assert error.summary.endswith("word …")
