"""Images on the command line: files that describe one, and an image as people read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.cli import image_text
from clary.cli.image_options import given, image_file
from clary.errors import ClaryError
from clary.images.inspecting import Seen


def refusal(file: Path, text: str) -> ClaryError:
    file.write_text(text)
    with pytest.raises(ClaryError) as caught:
        image_file(str(file))
    return caught.value


def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path / "bad.yaml", "base: python:3.12\nrequirements: [a, b\nenv: {X: 1\n")
    assert error.code == "image.bad_file"
    assert "expected ',' or ']'" in error.summary
    assert "line 3" in error.summary


def test_what_a_file_says_wrong_is_the_files(tmp_path: Path) -> None:
    error = refusal(tmp_path / "im.yaml", 'python: "2.7"\n')
    assert error.code == "image.invalid"
    assert str(tmp_path / "im.yaml") in error.summary


def test_options_may_say_what_a_file_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "im.yaml"
    file.write_text("context: .\n")
    assert given({"file": str(file), "dockerfile": "Dockerfile"}) == {"context": ".", "dockerfile": "Dockerfile"}


def test_a_variable_that_is_empty_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(
        *("host/a:t", "sha256:0", "type", "linux/amd64", 1, (), {"EMPTY": "", "FULL": "1"}),
        *((), (), "", "/", {}, {}),
    )
    image_text.seen(seen)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["EMPTY:", '""'] in lines
    assert ["FULL:", "1"] in lines
