"""Values from the command line, files and pipes: all forms, and refusals that show no value."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.errors import UsageError
from clary.secrets import given


def read(*arguments: str, table: str | None = None, stdin: str = "") -> given.Given:
    return given.read(arguments, table, lambda: stdin)


def test_every_form_of_an_option(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("from a file\r\n")
    (tmp_path / "pem").write_text("--BEGIN--\nabc\n--END--\n")
    found = read(
        "name", "--A=plain=1", f"--B=@{tmp_path / 'line'}", f"--C=@{tmp_path / 'pem'}", "--D=-", "--E=@@at", "--F=",
        stdin="from a pipe\n",
    )  # fmt: skip
    assert found.words == ["name"]
    assert found.values == {
        "A": "plain=1",
        "B": "from a file",
        "C": "--BEGIN--\nabc\n--END--\n",
        "D": "from a pipe",
        "E": "@at",
        "F": "",
    }
    assert found.in_clear
    assert "plain" not in repr(found)


def test_only_what_is_typed_is_in_clear(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert not read(f"--A=@{tmp_path / 'file'}", "--B=-").in_clear
    assert not read(table="-", stdin="{}").in_clear
    assert read("--A=@@x").in_clear
    assert read(table="A: 1").in_clear


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"A": "x", "B": 7, "C": 1.50, "D": true}', {"A": "x", "B": "7", "C": "1.50", "D": "true"}),
        ("A: 007\nB: yes\nC: 2020-01-01\nD: 'x'\nE:", {"A": "007", "B": "yes", "C": "2020-01-01", "D": "x", "E": ""}),
        ('{"A": "\\ud83d\\ude00"}', {"A": "😀"}),
    ],
)
def test_tables_keep_values_as_they_are_written(text: str, values: dict[str, str]) -> None:
    assert read(table=text).values == values
    assert read("--A=wins", table=text).values == {**values, "A": "wins"}


@pytest.mark.parametrize(
    ("arguments", "table", "code"),
    [
        (["--KEY"], None, "secret.bad_argument"),
        (["-k=hunter2"], None, "secret.bad_argument"),
        (["--A=-", "--B=-"], None, "secret.bad_argument"),
        (["--A=-"], "-", "secret.bad_argument"),
        (["--a b=hunter2"], None, "secret.bad_key"),
        (["--=hunter2"], None, "secret.bad_key"),
        (["--A=hunter2", "--A=hunter2"], None, "secret.key_twice"),
        (["--A=@/nowhere/at/all"], None, "secret.bad_file"),
        ([], "@/nowhere/at/all", "secret.bad_file"),
        ([], "[hunter2]", "secret.bad_values"),
        ([], "hunter2", "secret.bad_values"),
        ([], '{"A": {"B": "hunter2"}}', "secret.bad_values"),
        ([], '{"A": null, "B": "hunter2"}', "secret.bad_values"),
        ([], "A: 'hunter2", "secret.bad_values"),
        ([], "a b: hunter2", "secret.bad_key"),
    ],
)
def test_a_refusal_shows_no_value(arguments: list[str], table: str | None, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*arguments, table=table, stdin="A: 1")
    assert caught.value.code == code
    assert "hunter2" not in str(caught.value.to_dict())


def test_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * (given.LARGEST_FILE + 1))
    for name, said in (("binary", "UTF-8"), ("huge", "1 MiB")):
        with pytest.raises(UsageError, match=said):
            read(f"--A=@{tmp_path / name}")
