"""What ``copy`` takes of a project, and to which places."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.errors import ClaryError
from clary.image import Image
from clary.images import added

if TYPE_CHECKING:
    from clary.images.added import Added


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    for name in ("d/a.txt", "d/sub/b.bin", "d/.env", "p.txt", "secret/.env", "other/c.txt"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def copied(project: Path, **copy: str) -> tuple[Added, ...]:
    return added.copies(Image(copy=copy), project, project.parent / "cache")


def refused(project: Path, **copy: str) -> str:
    with pytest.raises(ClaryError) as caught:
        copied(project, **copy)
    assert caught.value.next_step
    return caught.value.code


def paths(project: Path, **copy: str) -> list[str]:
    return [file.path for one in copied(project, **copy) for file in one.files]


def test_a_folder_is_taken_without_secrets(project: Path) -> None:
    [found] = copied(project, d="/srv/d")
    assert [file.path for file in found.files] == ["/srv/d/a.txt", "/srv/d/sub/b.bin"]
    assert (found.folder, found.withheld) == (True, ("d/.env",))


@pytest.mark.parametrize("git", [True, False])
@pytest.mark.parametrize("pattern", ["*.bin", "d/sub", "/d/sub/", "sub/b.bin\nd/sub/b.*"])
def test_the_projects_ignore_file_counts(project: Path, pattern: str, git: bool) -> None:
    if git:
        subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / ".claryignore").write_text(pattern)
    assert paths(project, d="/srv/d") == ["/srv/d/a.txt"]


def test_a_folder_that_is_left_out_of_the_code_is_copied_when_it_is_named(project: Path) -> None:
    (project / ".claryignore").write_text("d/\n")
    assert paths(project, d="/srv/d") == ["/srv/d/a.txt", "/srv/d/sub/b.bin"]
    assert not any(file.path.endswith("a.txt") for file in added.code(project, project.parent / "cache").files)


def test_a_folders_own_ignore_file_counts_first(project: Path) -> None:
    (project / ".claryignore").write_text("*.txt\n")
    (project / "d/.claryignore").write_text("!a.txt\nsub/\n")
    assert paths(project, d="/srv/d") == ["/srv/d/.claryignore", "/srv/d/a.txt"]


def test_a_link_that_stays_in_what_is_copied_stays_a_link(project: Path) -> None:
    (project / "d/l").symlink_to("sub/b.bin")
    [found] = copied(project, d="/srv/d")
    assert [(file.path, file.link) for file in found.files if file.link] == [("/srv/d/l", "sub/b.bin")]


def test_a_link_to_another_file_of_the_project_is_that_file(project: Path) -> None:
    (project / "d/p").symlink_to("../p.txt")
    (project / "d/e").symlink_to("../secret/.env")
    [found] = copied(project, d="/srv/d")
    [file] = [file for file in found.files if file.path == "/srv/d/p"]
    assert (file.link, file.source.read_text()) == (None, "p.txt")
    assert set(found.withheld) == {"d/.env", "d/e"}
    before = found.digest
    (project / "p.txt").write_text("another content")
    assert copied(project, d="/srv/d")[0].digest != before


def test_a_link_to_another_folder_or_to_nothing_is_refused(project: Path) -> None:
    (project / "d/o").symlink_to("../other")
    assert refused(project, d="/srv/d") == "image.outside_project"
    (project / "d/o").unlink()
    (project / "d/o").symlink_to("../gone")
    assert refused(project, d="/srv/d") == "image.outside_project"


def test_a_file_goes_into_a_place_that_ends_in_a_slash(project: Path) -> None:
    found = added.copies(
        Image(copy={"p.txt": "/usr/", "d/a.txt": "/tmp/", "d/sub": "/opt/sub/"}), project, project.parent / "cache"
    )
    assert [file.path for one in found for file in one.files] == ["/tmp/a.txt", "/opt/sub/b.bin", "/usr/p.txt"]


@pytest.mark.parametrize("place", ["/usr", "/tmp", "/etc", "/usr/bin", "/usr/local/lib", "/opt"])
def test_a_file_in_the_place_of_a_folder_is_refused(project: Path, place: str) -> None:
    with pytest.raises(ClaryError) as caught:
        added.copies(Image(copy={"p.txt": place}), project, project.parent / "cache")
    assert caught.value.code == "image.bad_place"
    assert f"{place}/" in str(caught.value.next_step)


def test_what_lands_where_nothing_can_be_put_is_refused(project: Path) -> None:
    for name in ("ml", "clary", "d/ml/x", "d/bad\\name"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    assert refused(project, ml="/opt/") == "image.bad_place"
    assert refused(project, clary="/opt/") == "image.bad_place"
    assert refused(project, d="/opt") == "image.bad_place"
    assert refused(project, d="/srv/d") == "image.bad_place", "a name that no layer holds"


def test_two_files_at_one_place_are_refused(project: Path) -> None:
    (project / "q.txt").write_text("q")
    for copy in ({"p.txt": "/srv/x", "q.txt": "/srv/x"}, {"p.txt": "/srv/x", "q.txt": "/srv/x/y"}):
        with pytest.raises(ClaryError) as caught:
            added.copies(Image(copy=copy), project, project.parent / "cache")
        assert caught.value.code == "image.copy_clash"
    assert paths(project, d="/srv", other="/srv") == ["/srv/a.txt", "/srv/sub/b.bin", "/srv/c.txt"]
