"""What an image's tag follows from, where no registry has to be asked: images of a Dockerfile of one's own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ConfigError
from clary.images import labels
from clary.images.building import Quiet
from clary.images.preparing import Prepared, prepare
from clary.images.registry.registries import Registries
from clary.images.site import Site
from clary.images.spec import parsed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "other.Dockerfile").write_text("FROM scratch\nENV A=1\n")
    return folder


def prepared(project: Path, environment: dict[str, str] | None = None, **said: Any) -> Prepared:
    site = Site(Registries(), project.parent / "home", host="registry.example", environment=environment or {})
    image = parsed({"dockerfile": "Dockerfile", "builder": "docker", **said})
    return prepare(image, project, site, Quiet())


def tag(project: Path, environment: dict[str, str] | None = None, **said: Any) -> str:
    found = prepared(project, environment, **said).reference.tag
    assert found is not None
    return found


def test_the_same_context_has_the_same_tag(project: Path) -> None:
    assert tag(project) == tag(project)
    assert tag(project).startswith("clary-")


def test_two_dockerfiles_of_one_context_have_two_tags(project: Path) -> None:
    assert tag(project) != tag(project, dockerfile="other.Dockerfile")


@pytest.mark.parametrize(("field", "value"), [("builder", "kaniko"), ("platform", "linux/arm64")])
def test_what_decides_the_image_decides_its_tag(project: Path, field: str, value: str) -> None:
    assert tag(project) != prepared(project, None, **{field: value}).reference.tag


def test_a_file_of_the_context_decides_the_tag(project: Path) -> None:
    before = tag(project)
    (project / "data").write_text("1")
    assert tag(project) != before


def test_the_projects_address_decides_the_tag(project: Path) -> None:
    before = tag(project)
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / ".dockerignore").write_text(".git\n.dockerignore\n")
    assert tag(project) == before
    address = "https://ada:word@git.example/team/project.git"
    subprocess.run(["git", "-C", str(project), "remote", "add", "origin", address], check=True)
    found = prepared(project)
    assert found.order.labels[labels.SOURCE] == "https://git.example/team/project.git"
    assert found.reference.tag != before


@pytest.mark.parametrize("address", ["/home/ada/project", "file:///home/ada/project", "../project", "https://[x"])
def test_an_address_on_this_machine_or_none_at_all_is_not_told(project: Path, address: str) -> None:
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    subprocess.run(["git", "-C", str(project), "config", "remote.origin.url", address], check=True)
    assert labels.SOURCE not in prepared(project).order.labels


def test_the_time_that_is_shown_decides_the_tag(project: Path) -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    assert prepared(project, epoch).order.created == 1_700_000_000
    assert tag(project) != tag(project, epoch)


@pytest.mark.parametrize("said", ["yesterday", "-1", "1.5", "253402300800"])
def test_a_time_that_is_none_is_refused(project: Path, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tag(project, {"SOURCE_DATE_EPOCH": said})
    assert caught.value.code == "image.bad_epoch"
