"""Packages that no public index has, installed by a real Docker engine: local wheels, workspaces, private indexes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import package_index
from clary.errors import ClaryError
from clary.images import service
from clary.images.building import Built, Quiet
from clary.images.preparing import prepare
from clary.images.registry.registries import Registries
from clary.images.site import Site
from clary.images.spec import parsed
from package_index import PASSWORD, USER

if TYPE_CHECKING:
    from docker_engine import Engine

pytestmark = pytest.mark.timeout(180)


@dataclass
class Bench:
    """A project, and where its images are made."""

    engine: Engine
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    """Values by key, of the one secret that there is."""
    lines: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def build(self, **said: Any) -> Built:
        """Build what is said of an image, as ``clary image build`` does."""
        site = Site(
            registries=Registries(),
            home=self.folder / "home",
            host=self.engine.registry,
            repository=f"team/{self.folder.name.lower()}",
            builder={"flavor": "docker", "network": "host"},
            secret=lambda text: self.secrets[text.removeprefix("{{secrets.index.").removesuffix("}}")],
            environment={**self.engine.environment, "PATH": "/usr/bin:/bin", **self.environment},
        )
        image = parsed({"base": str(self.engine.base), **said})
        return service.ensure(prepare(image, self.project, site, Quiet()), site, self)

    def stage(self, text: str) -> None:
        self.lines.append(text)

    def transfer(self, name: str, done: int, total: int) -> None:
        pass

    def python(self, built: Built, program: str) -> str:
        """Run a program with the Python of an image."""
        return self.engine.docker("run", "--rm", "--network", "none", str(built.reference), "python", "-c", program)


@pytest.fixture
def bench(engine: Engine, tmp_path: Path) -> Bench:
    made = Bench(engine, tmp_path)
    made.project.mkdir()
    return made


def unpack(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_wheels_and_sources_of_this_machine_are_installed_and_are_in_no_layer_of_their_own(bench: Bench) -> None:
    (bench.project / "wheel-1.0-py3-none-any.whl").write_bytes(package_index.wheel("wheel", "1.0", tag="py3-none-any"))
    (bench.project / "source-1.0.tar.gz").write_bytes(package_index.sdist("source", "1.0", tag="py3-none-any"))
    unpack(bench.project / "libs/folder", package_index.project("folder", tag="py3-none-any"))
    built = bench.build(requirements=["./wheel-1.0-py3-none-any.whl", "./source-1.0.tar.gz", "./libs/folder"])
    program = "import wheel, source, folder; print(wheel.VERSION, source.VERSION, folder.VERSION)"
    assert bench.python(built, program) == "1.0 1.0 1.0"
    found = bench.engine.docker("run", "--rm", "--network", "none", str(built.reference), "find", "/", "-name", "*.whl")
    assert found == ""


def test_a_member_of_a_workspace_is_installed(bench: Bench) -> None:
    from uv import find_uv_bin

    unpack(bench.project / "libs/near", package_index.project("near", tag="py3-none-any"))
    (bench.project / "pyproject.toml").write_text(
        '[project]\nname = "top"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["near"]\n'
        '[tool.uv.workspace]\nmembers = ["libs/*"]\n[tool.uv.sources]\nnear = { workspace = true }\n'
    )
    subprocess.run([find_uv_bin(), "lock", "--offline", "-q"], cwd=bench.project, check=True)
    built = bench.build(requirements="uv.lock")
    assert bench.python(built, "import near; print(near.VERSION)") == "1.0"


SECRETS = {"UV_INDEX_TEAM_USERNAME": "{{secrets.index.user}}", "UV_INDEX_TEAM_PASSWORD": "{{secrets.index.word}}"}


@pytest.mark.parametrize("user_is_secret", [True, False])
def test_a_private_index_is_signed_in_to_by_the_secrets_that_name_it(bench: Bench, user_is_secret: bool) -> None:
    with package_index.serving(password=PASSWORD) as index:
        index.add_wheel("inner")
        (bench.project / "pyproject.toml").write_text(
            f'[project]\nname = "top"\nversion = "1"\n[[tool.uv.index]]\nname = "team"\nurl = "{index.url}"\n'
        )
        bench.environment = {"UV_NO_CACHE": "1", "HOME": str(bench.folder)}
        bench.secrets = {"user": USER, "word": PASSWORD}
        secrets = dict(SECRETS)
        if not user_is_secret:
            bench.environment["UV_INDEX_TEAM_USERNAME"] = USER
            del secrets["UV_INDEX_TEAM_USERNAME"]
        built = bench.build(requirements=["inner"], secrets=secrets)
    assert bench.python(built, "import inner; print(inner.VERSION)") == "1.0"
    history = bench.engine.docker("history", "--no-trunc", str(built.reference))
    told = bench.engine.docker("image", "inspect", str(built.reference)) + history + json.dumps(bench.lines)
    for secret in (PASSWORD, index.secret_url, index.address):
        assert secret not in told


def test_without_its_secret_a_private_index_lets_nobody_in(bench: Bench) -> None:
    with package_index.serving(password=PASSWORD) as index:
        index.add_wheel("inner")
        bench.environment = {"UV_DEFAULT_INDEX": index.secret_url, "UV_NO_CACHE": "1", "HOME": str(bench.folder)}
        with pytest.raises(ClaryError) as caught:
            bench.build(requirements=["inner"])
    assert caught.value.code == "image.build_failed"
    assert "401" in caught.value.summary
