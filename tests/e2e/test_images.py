"""From a project to a job that runs its image, and no Docker anywhere: resolved, built, pushed, pulled, run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import oci_images
import package_index
from clary.agent import service
from clary.agent.images import site_of
from clary.agent.place import place_of
from clary.errors import ConfigError, ValidationError
from clary.images import inspecting
from clary.images import service as images
from clary.images.building import Quiet
from clary.images.preparing import prepare
from clary.images.spec import parsed
from package_index import PackageIndex

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from command_line import CommandLine
    from e2e.conftest import Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FLOWS = '''
"""Flows of a project that needs packages."""

from clary import Image, checkpoint, flow


def seen() -> dict:
    import os
    import sys

    import small

    return {"small": small.VERSION, "prefix": sys.prefix, "level": os.environ.get("LEVEL"), "uid": os.getuid()}


@checkpoint
def look() -> dict:
    return seen()


@flow(image=Image())
def found() -> dict:
    return look()


@flow(image=Image(requirements=["small"], builder="none", env={"LEVEL": "beside"}))
def beside() -> dict:
    return look()


@flow(image=Image(base="cuda:12.9"), instance_type="ml.m5.large")
def without_gpu() -> None: ...
'''
APART = """
from clary import Image, checkpoint, flow


def seen() -> dict:
    import os
    import sys

    import small

    return {"small": small.VERSION, "prefix": sys.prefix, "level": os.environ.get("LEVEL"), "uid": os.getuid()}


@checkpoint
def look() -> dict:
    return seen()


@checkpoint(runtime="isolated", image=Image(requirements=["small==1.0"], env={"LEVEL": "isolated"}))
def look_apart() -> dict:
    return seen()


@flow(image=Image(env={"LEVEL": "flow"}))
def apart() -> list:
    return [look(), look_apart()]
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """An index that uv asks, with two versions of a package that needs another."""
    with package_index.serving() as served:
        served.add_wheel("small", "1.0", requires=["smaller"])
        served.add_wheel("small", "1.1", requires=["smaller"], payload=os.urandom(300_000))
        served.add_wheel("smaller", "2.0")
        for name, text in package_index.environment(served, tmp_path / "uv").items():
            monkeypatch.setenv(name, text)
        yield served


@pytest.fixture
def project(tmp_path: Path, index: PackageIndex) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\ndependencies = ["small"]\n')
    (folder / "flows.py").write_text(FLOWS)
    (folder / "apart.py").write_text(APART)
    return folder


def run(lab: Lab, project: Path, flow: str, file: str = "flows.py") -> tuple[RunView, Any]:
    """Run a flow of the project; return the run as it ended, and its result."""
    view = service.start(service.load_target(f"{project / file}:{flow}"), {}, lab.stack)
    ended = service.wait(lab.stack, view.id, 120)
    assert ended.status == "completed", ended.failure
    return ended, service.result(lab.stack, view.id)


def manifests(lab: Lab, repository: str) -> list[dict[str, Any]]:
    """Return the images of a repository, as ECR lists them."""
    found: list[dict[str, Any]] = lab.sandbox.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
    return found


def test_a_project_is_built_pushed_pulled_and_run(lab: Lab, project: Path) -> None:
    lab = replace(lab, stack=replace(lab.stack, container_registry=f"{lab.stack.container_registry}/found"))
    ended, result = run(lab, project, "found")
    assert result == {"small": "1.1", "prefix": "/opt/clary/venv", "level": None, "uid": 0}
    attempt = ended.attempts[-1]
    assert attempt.image is not None
    assert attempt.image.startswith(f"{lab.stack.container_registry}:clary-")
    (image,) = manifests(lab, "found")
    assert image["imageManifestMediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert attempt.image_size == pytest.approx(image["imageSizeInBytes"], rel=0.01)
    again, _ = run(lab, project, "found")
    assert again.attempts[-1].image == attempt.image
    assert len(manifests(lab, "found")) == 1


def test_a_change_of_code_builds_no_image(lab: Lab, project: Path) -> None:
    first, _ = run(lab, project, "found")
    (project / "flows.py").write_text(FLOWS.replace('"uid": os.getuid()', '"uid": -1'))
    second, result = run(lab, project, "found")
    assert result["uid"] == -1
    assert second.attempts[-1].image == first.attempts[-1].image


def test_packages_travel_beside_the_code_without_a_registry(lab: Lab, project: Path) -> None:
    lab = replace(lab, stack=replace(lab.stack, container_registry=None))
    ended, result = run(lab, project, "beside")
    assert result == {"small": "1.1", "prefix": "/opt/clary/venv", "level": "beside", "uid": 0}
    request = lab.job(ended)
    channels = {one["ChannelName"]: one["DataSource"]["S3DataSource"] for one in request["InputDataConfig"]}
    assert channels["dependencies"]["S3DataType"] == "ManifestFile"
    assert request["AlgorithmSpecification"]["TrainingImage"].partition("@")[0] == lab.stack.image.partition(":")[0]  # type: ignore[union-attr]  # the lab's stack has one


def test_an_isolated_checkpoint_has_an_image_of_its_own(lab: Lab, project: Path) -> None:
    _, (inline, isolated) = run(lab, project, "apart", "apart.py")
    assert (inline["small"], inline["level"]) == ("1.1", "flow")
    assert (isolated["small"], isolated["level"]) == ("1.0", "isolated")


@pytest.mark.parametrize(
    "operation",
    ["BatchGetImage", "BatchCheckLayerAvailability", "InitiateLayerUpload", "CompleteLayerUpload", "PutImage"],
)
def test_a_token_that_ends_on_the_way_is_renewed(lab: Lab, project: Path, operation: str) -> None:
    repository = f"expired-{operation.lower()}"
    lab = replace(lab, stack=replace(lab.stack, container_registry=f"{lab.stack.container_registry}/{repository}"))
    lab.sandbox.faults.expire_credentials(operation=operation)
    place = place_of(lab.stack)
    site = site_of(place)
    image = parsed({"base": lab.stack.image, "requirements": ["small"]})
    built = images.ensure(prepare(image, project, site, Quiet()), site, Quiet())
    assert manifests(lab, repository)[0]["imageDigest"] == built.reference.digest


def test_a_build_comes_through_the_registry_s_troubles(lab: Lab, project: Path) -> None:
    lab = replace(lab, stack=replace(lab.stack, container_registry=f"{lab.stack.container_registry}/troubled"))
    faults = lab.sandbox.faults
    faults.throttle("InitiateLayerUpload", times=2)
    faults.server_error("CompleteLayerUpload", status=503, times=2)
    faults.lost_reply("PutImage", times=1)
    faults.break_upload(operation="CompleteLayerUpload", times=2)
    faults.break_download(times=2)
    faults.mount(403, times=2)
    site = site_of(place_of(lab.stack))
    image = parsed({"base": lab.stack.image, "requirements": ["small"]})
    built = images.ensure(prepare(image, project, site, Quiet()), site, Quiet())
    faults.clear()
    _, problems = inspecting.verify(built.reference, site.registries, Quiet())
    assert problems == []


def test_a_gpu_base_on_a_machine_without_one_is_refused(lab: Lab, project: Path) -> None:
    target = service.load_target(f"{project / 'flows.py'}:without_gpu")
    lab.sandbox.faults.clear()
    with pytest.raises(ValidationError) as caught:
        service.start(target, {}, lab.stack)
    assert caught.value.code == "image.no_gpu"


def refused(lab: Lab, project: Path, image: dict[str, Any]) -> str:
    """Return the code of the error that a flow with this image is refused with, before anything is sent."""
    (project / "refused.py").write_text(
        f"from clary import Image, flow\n\n@flow(image=Image(**{image!r}))\ndef it(): ...\n"
    )
    with pytest.raises(ConfigError) as caught:
        service.start(service.load_target(f"{project / 'refused.py'}:it"), {}, lab.stack)
    return caught.value.code


def with_user(lab: Lab, user: str) -> str:
    """Push the stack's image once more, with another user, and return its address."""
    address, _, tag = str(lab.stack.image).rpartition(":")
    repository = address.partition("/")[2]
    ecr = lab.sandbox.client("ecr")
    registry = oci_images.Client(lab.sandbox.endpoint, oci_images.password(ecr))
    (found,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    manifest = json.loads(found["imageManifest"])
    config = json.loads(registry.pull_blob(repository, manifest["config"]["digest"]))
    config["config"]["User"] = user
    data = json.dumps(config).encode()
    manifest["config"] |= {"digest": registry.push_blob(repository, data), "size": len(data)}
    digest = registry.push_manifest(repository, "of-a-user", json.dumps(manifest).encode())
    registry.close()
    return f"{address}@{digest}"


def test_a_user_who_cannot_write_in_a_job_is_refused_for_flows(lab: Lab, project: Path) -> None:
    assert refused(lab, project, {"user": "1000:1000"}) == "image.not_root"
    base = with_user(lab, "1000:1000")
    assert refused(lab, project, {"base": base, "requirements": ["small"], "builder": "none"}) == "image.not_root"
    assert refused(lab, project, {"base": base}) == "image.not_root"
    (project / "rooted.py").write_text(FLOWS.replace("Image()", f"Image(base={base!r}, user='root')"))
    _, result = run(lab, project, "found", "rooted.py")
    assert result["uid"] == 0


def item(terminal: CommandLine, *words: str) -> Any:
    """Return what a command prints as JSON."""
    stack = () if "cache" in words else ("--stack", "lab")
    answer = terminal(*words, *stack, "-o", "json")
    assert answer.code == 0, answer.err
    return answer.json["item"]


def test_the_commands_of_images(terminal: CommandLine, project: Path, index: PackageIndex) -> None:
    target = f"{project / 'flows.py'}:found"
    planned = item(terminal, "image", "plan", target, "--repository", "commands")
    assert (planned["exists"], planned["packages"]) == (False, ["small 1.1", "smaller 2.0"])
    built = item(terminal, "image", "build", target, "--repository", "commands", "--tag", "first")
    assert built["tag"] == planned["reference"]
    assert item(terminal, "image", "plan", target, "--repository", "commands")["exists"]
    other = item(
        terminal,
        "image",
        "build",
        target,
        "--repository",
        "commands",
        "--requirements",
        "small==1.0",
        "--env",
        "LEVEL=low",
    )
    shown = item(terminal, "image", "show", other["image"])
    assert shown["packages"] == {"small": "1.0", "smaller": "2.0"}
    compared = item(terminal, "image", "diff", built["image"], other["image"])["differences"]
    assert compared["packages"] == {"small": {"before": "1.1", "after": "1.0"}}
    assert compared["environment"] == {"LEVEL": {"before": None, "after": "low"}}
    assert item(terminal, "image", "verify", built["image"])["ok"]
    copied = item(terminal, "image", "copy", built["image"], "--repository", "copied", "--tag", "mine")
    assert copied["image"].endswith(built["image"].partition("@")[2])
    assert item(terminal, "image", "show", copied["tag"])["packages"] == {"small": "1.1", "smaller": "2.0"}
    item(terminal, "image", "copy", built["image"], "--tag", "of-the-stack")
    again = item(terminal, "image", "copy", ":of-the-stack", "--tag", "again")
    assert again["image"].endswith(built["image"].partition("@")[2])
    kept = item(terminal, "image", "cache", "info")
    assert kept["layers"] > 0
    assert item(terminal, "image", "cache", "prune", "--all")["freed"] == kept["size"]
    assert json.loads(json.dumps(kept))["folder"].endswith("images")
