from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clary.errors import ConfigError
from clary.images.packages import requirement_files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_read_with_all_that_it_includes(tmp_path: Path) -> None:
    _write(tmp_path / "requirements.txt", "-r base.txt\n--requirement=more/a.txt\n-c limits.txt\n-rtight.txt\nflask\n")
    _write(tmp_path / "base.txt", "numpy>=2  # fast\n\n# nothing\n-r requirements.txt\n")
    _write(tmp_path / "more" / "a.txt", "-r b.txt\n")
    _write(tmp_path / "more" / "b.txt", "Pandas_Stubs\n")
    _write(tmp_path / "limits.txt", "scipy<2\n")
    _write(tmp_path / "tight.txt", "attrs\n")

    found = requirement_files.read(tmp_path / "requirements.txt")

    assert found.lines == ["numpy>=2", "Pandas_Stubs", "scipy<2", "attrs", "flask"]
    assert {file.name for file in found.files} == {
        "requirements.txt",
        "base.txt",
        "a.txt",
        "b.txt",
        "limits.txt",
        "tight.txt",
    }
    assert found.names == {"numpy", "pandas-stubs", "scipy", "attrs", "flask"}


def test_digests_on_continued_lines_belong_to_their_requirement(tmp_path: Path) -> None:
    one, two, other = "1" * 64, "2" * 64, "3" * 64
    _write(
        tmp_path / "r.txt",
        f"six==1.17.0 \\\r\n    --hash=sha256:{one} \\\n  --hash=sha256:{two}\nattrs==1 --hash sha256:{other}\nidna\n",
    )

    found = requirement_files.read(tmp_path / "r.txt")

    assert found.digests({}) == {"six": {f"sha256:{one}", f"sha256:{two}"}, "attrs": {f"sha256:{other}"}}
    assert not found.requires_digests


def test_digests_of_lines_whose_marker_holds_are_allowed_together(tmp_path: Path) -> None:
    one, two, three = "1" * 64, "2" * 64, "3" * 128
    _write(
        tmp_path / "r.txt",
        f"--require-hashes\nsix==1 ; python_version < '3.12' --hash=sha256:{one}\n"
        f"Six==2 ; python_version >= '3.12' --hash=sha256:{two}\nsix --hash=sha512:{three}\n",
    )

    found = requirement_files.read(tmp_path / "r.txt")

    assert found.digests({"python_version": "3.12"}) == {"six": {f"sha256:{two}", f"sha512:{three}"}}
    assert found.requires_digests


def test_indexes_are_those_that_the_options_name(tmp_path: Path) -> None:
    _write(
        tmp_path / "r.txt",
        "--index-url https://a/simple\n-i https://b/simple\n--extra-index-url=https://c/simple?x=1\n"
        '--find-links "./with space"\n-f ./flat\n--pre\n-e ./libs/mine\n',
    )

    found = requirement_files.read(tmp_path / "r.txt")

    urls = ["https://a/simple", "https://b/simple", "https://c/simple?x=1", "./with space", "./flat"]
    assert found.indexes == urls
    assert found.names == set()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("numpy", "numpy"),
        ("Foo.Bar[baz]>=1 ; python_version>'3'", "foo-bar"),
        ("foo @ https://x/y.whl", "foo"),
        ("./libs/foo", None),
        ("libs/foo", None),
        ("git+https://x/y", None),
        ("https://x/y.whl", None),
        ("-e .", None),
    ],
)
def test_a_requirement_by_name_has_a_name(line: str, name: str | None) -> None:
    assert requirement_files.required_name(line) == name


def test_a_mark_at_the_beginning_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbfnumpy\n")

    assert requirement_files.read(tmp_path / "r.txt").names == {"numpy"}


def test_an_included_file_that_is_not_there_is_told_with_who_includes_it(tmp_path: Path) -> None:
    _write(tmp_path / "r.txt", "-r base.txt\n")

    with pytest.raises(ConfigError) as caught:
        requirement_files.read(tmp_path / "r.txt")

    assert caught.value.code == "image.requirements_not_found"
    assert "base.txt, which r.txt includes," in caught.value.summary


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes("numpy\n".encode("utf-16"))

    with pytest.raises(ConfigError) as caught:
        requirement_files.read(tmp_path / "r.txt")

    assert caught.value.code == "image.bad_requirement"
    assert "UTF-8" in caught.value.next_step


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode())
