"""Flavors: every built-in one keeps the contract, and so can one of another package; broken ones are told apart."""

# ruff: noqa: RUF012 - the attributes of the contract's classes are read, never changed

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.stacks import flavors
from clary.stacks.flavors import KINDS, builders, ecr, local, s3, sagemaker, secrets
from clary.stacks.flavors.contract import FlavorContract

ROLE = "arn:aws:iam::123456789012:role/team"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "flavors.md"
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class TestSagemaker(FlavorContract):
    flavor = sagemaker.ORCHESTRATOR
    example = {
        "region": "us-east-1",
        "execution_role": ROLE,
        "assume-role": ROLE,
        "external_id": "x",
        "endpoint_urls": {"s3": "http://127.0.0.1:9000"},
        "instance_type": ["ml.m5.large", "ml.m5.xlarge"],
        "tags": {"team": "ml", "cost-center": "7"},
        "synchronous": False,
    }
    bad = [
        {"region": "nowhere", "execution_role": ROLE},
        {"region": "us-east-1", "execution_role": "team"},
        {"region": "us-east-1", "execution_role": ROLE, "volume_size_in_gb": -1},
        {"region": "us-east-1", "execution_role": ROLE, "external_id": "x"},
        {"region": "us-east-1", "execution_role": ROLE, "aws_profile": "a", "credentials": "aws-profile:a"},
        {"region": "us-east-1", "execution_role": ROLE, "instance_typ": "ml.m5.large"},
    ]


class TestLocalOrchestrator(FlavorContract):
    flavor = local.ORCHESTRATOR
    bad = [{"region": "us-east-1"}]


class TestLocalStore(FlavorContract):
    flavor = local.ARTIFACT_STORE
    example = {"path": "/somewhere/else"}
    bad = [{"path": "s3://bucket"}, {"path": 7}]


class TestS3(FlavorContract):
    flavor = s3.ARTIFACT_STORE
    example = {"path": "s3://team-bucket/runs/", "credentials": "aws-profile:team"}
    bad = [
        {"path": "/somewhere"},
        {"path": "s3://Bucket"},
        {"path": "s3://bucket", "credentials": "password"},
        {"path": "s3://bucket", "key": "AKIA", "secret": "x"},
    ]


class TestEcr(FlavorContract):
    flavor = ecr.CONTAINER_REGISTRY
    example = {"uri": HOST, "default_repository": "team/images"}
    bad = [{"uri": "docker.io/me"}, {"uri": f"{HOST}/one", "default_repository": "two"}]


class TestLayers(FlavorContract):
    flavor = builders.LAYERS


class TestDocker(FlavorContract):
    flavor = builders.DOCKER
    example = {"network": "host", "buildx_builder": "mine"}
    bad = [{"network": ""}, {"destination": HOST}]


class TestKaniko(FlavorContract):
    flavor = builders.KANIKO
    example = {
        "kubernetes_context": "team",
        "kubernetes_namespace": "builds",
        "executor-image": f"{HOST}/kaniko@sha256:{'a' * 64}",
        "executor_args": ["--cache=true"],
        "build_context_store": "s3://team-bucket/contexts",
        "build_job_name": "team-builds",
        "build_timeout": 1800,
        "secret_name": "aws",
        "secret_key": "credentials",
        "resources": {"cpu": 2, "memory": "8Gi"},
        "tolerations": [{"key": "builds", "operator": "Exists"}],
        "labels": {"team": "ml"},
    }
    bad = [
        {"kubernetes_context": ""},
        {"executor_image": "https://registry/kaniko"},
        {"executor_args": "--cache"},
        {"build_context_store": "/somewhere"},
        {"build_job_name": "Team"},
        {"build_timeout": 5},
        {"secret_name": "aws"},
        {"secret_key": "credentials"},
        {"resources": {"gpu": 1}},
        {"resources": {"memory": "lots"}},
        {"tolerations": [{"name": "builds"}]},
        {"kaniko_config": {}},
    ]


class TestNone(FlavorContract):
    flavor = builders.NONE


class TestSecretsManager(FlavorContract):
    flavor = secrets.AWS
    example = {"prefix": "team/", "kms_key": "alias/team"}
    bad = [{"prefix": "a b"}, {"region_name": "us-east-1"}]


class TestParameterStore(FlavorContract):
    flavor = secrets.SSM
    example = {"prefix": "team/"}


class TestLocalSecrets(FlavorContract):
    flavor = secrets.LOCAL


def test_every_built_in_flavor_is_held_to_the_contract() -> None:
    classes = [one for name, one in globals().items() if name.startswith("Test")]
    held = {(one.flavor.kind, one.flavor.name) for one in classes}
    assert held == {(kind, name) for kind in KINDS for name in flavors.names(kind)}


def test_the_contract_finds_what_is_wrong() -> None:
    def provide(options: Any) -> dict[str, Any]:
        options["seen"] = True
        return {"secrets": {}}

    option = flavors.Option("Path", "", lambda value: None if value.startswith("/") else "no", required=True)
    sloppy = flavors.Flavor("artifact_store", "slop py", "", (option, option), provide)

    class Sloppy(FlavorContract):
        flavor = sloppy
        example = {"Path": "/x"}
        bad = [{"Path": "/y"}]

    broken = []
    for name in dir(FlavorContract):
        if name.startswith("test_"):
            try:
                getattr(Sloppy(), name)()
            except (AssertionError, AttributeError, ClaryError):
                broken.append(name)
    assert set(broken) >= {
        "test_its_entry_point_gives_it",
        "test_it_says_what_it_is",
        "test_every_spelling_is_of_one_option",
        "test_the_example_makes_a_component",
        "test_bad_options_are_refused",
        "test_no_value_breaks_it",
        "test_providing_changes_nothing",
    }


def offer(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    """Let packages offer flavors: ``artifact_store__name="module:attribute"``."""
    found = {
        name.replace("__", "."): [EntryPoint(name.replace("__", "."), value, flavors.GROUP)]
        for name, value in entries.items()
    }
    monkeypatch.setattr(flavors, "_offered", lambda: found)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module:STORE", "ModuleNotFoundError"),
        ("clary.stacks.flavors.s3:NOTHING", "AttributeError"),
        ("clary.stacks.forms:NAME_RULE", "gives no flavor"),
        ("clary.stacks.flavors.s3:ARTIFACT_STORE", "gives no flavor"),
    ],
)
def test_a_broken_flavor_says_why(monkeypatch: pytest.MonkeyPatch, target: str, said: str) -> None:
    offer(monkeypatch, artifact_store__mine=target)
    with pytest.raises(ClaryError, match=said) as error:
        flavors.find("artifact_store", "mine")
    assert error.value.code == "flavor.broken"


def test_a_flavor_that_two_packages_offer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("artifact_store.mine", "clary.stacks.flavors.s3:ARTIFACT_STORE", flavors.GROUP)
    monkeypatch.setattr(flavors, "_offered", lambda: {"artifact_store.mine": [entry, entry]})
    with pytest.raises(ClaryError, match="several packages") as error:
        flavors.find("artifact_store", "mine")
    assert error.value.code == "flavor.broken"


@pytest.mark.parametrize(("name", "hint"), [("sagemakr", "'sagemaker'"), ("kubernetes", "local, sagemaker")])
def test_an_unknown_flavor_gets_the_nearest_or_all(name: str, hint: str) -> None:
    with pytest.raises(ClaryError, match=hint) as error:
        flavors.find("orchestrator", name)
    assert error.value.code == "flavor.not_found"
    with pytest.raises(ClaryError):
        flavors.package_of("orchestrator", name)


def test_names_are_known_in_every_spelling() -> None:
    flavor = sagemaker.ORCHESTRATOR
    assert flavor.own_name("processor-role") == "execution_role"
    assert flavor.own_name("something-else") == "something_else"
    assert all(map(flavor.knows, ["execution-role", "processor_role", "volume-size-in-gb", "aws_access_key_id"]))
    assert not flavor.knows("label")


BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
MODULE, CONTRACT = (body for kind, body in BLOCKS if kind == "python")
"""The example of the reference page, and its tests."""
(PROJECT,) = (tomllib.loads(body) for kind, body in BLOCKS if kind == "toml")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, with one of somebody else's that offers flavors, one of them broken."""
    folder = tmp_path / "site"
    info = folder / "teamcloud-2.1.dist-info"
    info.mkdir(parents=True)
    (folder / "teamcloud.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: teamcloud\nVersion: 2.1\n")
    offered = PROJECT["project"]["entry-points"][flavors.GROUP] | {"orchestrator.teamcloud": "teamcloud:RUNNER"}
    lines = [f"[{flavors.GROUP}]", *(f"{name} = {target}" for name, target in offered.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def test_a_flavor_of_another_package_is_like_a_built_in_one(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "CLARY_HOME": str(tmp_path / "home")}

    def clary(*arguments: str, flag: str = "-o") -> Any:
        program = str(Path(sys.executable).with_name("clary"))
        done = subprocess.run(
            [program, *arguments, flag, "json"], env=environment, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout or done.stderr)

    stores = {row["name"]: row for row in clary("artifact-store", "flavor", "list")["items"]}
    assert list(stores) == ["local", "s3", "teamcloud"]
    assert stores["teamcloud"]["package"] == "teamcloud==2.1"
    assert stores["teamcloud"]["summary"] == "Keeps runs in the bucket of a team."

    runners = {row["name"]: row for row in clary("orchestrator", "flavor", "list")["items"]}
    assert "RUNNER" in runners["teamcloud"]["broken"]
    assert runners["sagemaker"]["broken"] is None
    assert clary("orchestrator", "register", "x", "-f", "teamcloud")["error"]["code"] == "flavor.broken"

    made = clary("artifact-store", "register", "ours", "--flavor=teamcloud", "--team=ml", "--prefix=a")["item"]
    assert made["options"] == {"team": "ml", "folder": "a"}
    clary("orchestrator", "register", "run", "-f", "sagemaker", "--region=us-east-1", f"--execution-role={ROLE}")
    stack = clary_stack(environment, "register", "both", "-o", "run", "-a", "ours", "--no-verify")
    assert stack["resources"]["artifacts"] == "s3://ml-runs/a"

    environment.pop("PYTHONPATH")  # the package is gone; what was made of it is not
    assert clary("artifact-store", "show", "ours")["item"]["stacks"] == ["both"]
    assert clary("stack", "show", "both")["item"]["components"][1]["backend"] == "teamcloud"
    assert clary("artifact-store", "rename", "ours", "theirs")["item"]["flavor"] == "teamcloud"
    assert clary("artifact-store", "update", "theirs", "--team=x")["error"]["code"] == "flavor.not_found"
    gone = clary("stack", "export-requirements", "both", flag="--output")["error"]
    assert gone["code"] == "flavor.package_gone"
    assert "artifact store 'theirs'" in gone["message"]


def clary_stack(environment: dict[str, str], *arguments: str) -> Any:
    program = str(Path(sys.executable).with_name("clary"))
    done = subprocess.run(
        [program, "stack", *arguments, "--output", "json"], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["item"]


def test_another_package_can_run_the_contract(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_teamcloud.py").write_text(CONTRACT)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_teamcloud.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    tests = sum(name.startswith("test_") for name in dir(FlavorContract))
    assert f"{tests} passed" in done.stdout
