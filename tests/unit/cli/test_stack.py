"""``clary stack`` on the command line: what is printed, as text and as JSON, and every refusal by its code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.stacks import parts

if TYPE_CHECKING:
    from command_line import CommandLine

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
SAGEMAKER = [
    *("--type", "sagemaker", "--artifact-store", "s3://my-bucket/x", "--container-registry", f"{HOST}/kitaru"),
    *("--region", "eu-central-1", "--execution-role", "arn:aws:iam::123456789012:role/R", "--no-verify"),
]


@pytest.fixture
def aws(clary: CommandLine) -> CommandLine:
    """A machine with the stack ``aws``, which is current."""
    assert clary("stack", "create", "aws", *SAGEMAKER).code == 0
    return clary


def compose(clary: CommandLine, name: str = "team", *more: str) -> None:
    parts.register("orchestrator", "sm", "sagemaker", {"region": "eu-central-1", "execution_role": SAGEMAKER[9]})
    parts.register("artifact_store", "store", "s3", {"path": "s3://b-b/x"})
    parts.register("container_registry", "ecr", "aws", {"uri": HOST, "default_repository": "zenml"})
    made = clary("stack", "register", name, "-o", "sm", "-a", "store", "-c", "ecr", "--no-verify", *more)
    assert made.code == 0, made.err


def test_create_in_the_documented_shapes(clary: CommandLine) -> None:
    text = clary("stack", "create", "aws", *SAGEMAKER, "--no-activate")
    assert text.out.splitlines()[0] == "Created stack: aws (sagemaker)"
    assert "Active stack" not in text.out
    item = clary("stack", "create", "two", *SAGEMAKER, "--async", "-o", "json").json["item"]
    assert {"id", "name", "is_active", "is_managed", "previous_active_stack", "components_created", "stack_type"} < set(
        item
    )
    assert [part["role"] for part in item["components_created"]] == ["runner", "storage", "image_registry"]
    assert item["components_created"][0]["details"]["synchronous"] is False


def test_create_from_a_file_the_command_line_wins(clary: CommandLine) -> None:
    Path("stack.yaml").write_text(
        f"name: filed\ntype: sagemaker\nartifact-store: s3://b-b/x\ncontainer_registry: {HOST}\nregion: eu-central-1\n"
        "execution_role: arn:aws:iam::123456789012:role/R\nverify: false\nasync: true\n"
        "extra:\n  orchestrator: {instance_type: ml.m5.large}\n"
    )
    assert clary("stack", "create", "-f", "stack.yaml", "--region", "eu-west-1").code == 0
    shown = clary("stack", "show", "filed", "-o", "json").json["item"]
    settings = {one["name"]: (one["value"], one["origin"]) for one in shown["settings"]}
    assert settings["region"] == ("eu-west-1", "orchestrator filed")
    assert settings["synchronous"] == (False, "orchestrator filed")
    assert settings["instance_type"] == ("ml.m5.large", "orchestrator filed")
    assert settings["max_runtime_in_seconds"] == (3600, "default")


def test_a_dry_run_shows_and_stores_nothing(clary: CommandLine) -> None:
    answer = clary("stack", "create", "aws", *SAGEMAKER, "--dry-run")
    assert answer.out.splitlines()[0] == "Would create stack: aws (sagemaker)"
    assert clary("stack", "create", "aws", *SAGEMAKER, "--dry-run", "-o", "json").json["item"]["dry_run"] is True
    assert clary("stack", "show", "aws").code == 1


def test_show_names_every_component_and_setting_with_its_origin(aws: CommandLine) -> None:
    shown = aws("stack", "show").out
    for line in ("Runner:", "Storage:", "Image registry:", "SETTING", "max_runtime_in_seconds", "default"):
        assert line in shown
    assert aws("stack", "describe", "aws").out == shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create", "aws", *SAGEMAKER], "stack.name_taken", "stack use aws"),
        (["create", "x", "--type", "sagemaker"], "stack.missing_fields", "--execution-role"),
        (
            ["create", "x", "--type", "sagemaker", "--cluster", "c"],
            "stack.foreign_field",
            "--type kubernetes: --cluster",
        ),
        (["create", "x", "--workspace", "w"], "stack.foreign_field", "azureml"),
        (["create", "x", "--type", "kubernetes"], "stack.unknown_type", "SageMaker"),
        (["create", "x", "--type", "modal"], "stack.unknown_type", "local, sagemaker, sandbox"),
        (["create", "x", "--sandbox", "e2b"], "stack.no_sandbox_component", "checkpoint"),
        (["create", "x", "--async"], "stack.foreign_field", "--async"),
        (["create", "x", "--extra", "container_registry.uri=x"], "stack.foreign_field", "container_registry"),
        (["create", "x", "--extra", "sandbox.image=x"], "stack.no_sandbox_component", "checkpoint"),
        (["create", "x", "--extra", "orchestrator"], "stack.bad_extra", "TARGET.FIELD=VALUE"),
        (["create", "x", "--artifact-store", "s3://b"], "stack.bad_value", "folder"),
        (["create", "x", *SAGEMAKER, "--artifact-store", "gs://b"], "stack.bad_value", "s3://BUCKET"),
        (["create", "x", *SAGEMAKER, "--extra", "orchestrator.instnce_type=y"], "stack.bad_value", "instance_type"),
        (["create", "x", *SAGEMAKER, "--credentials", "gcp-service-account:f"], "stack.bad_value", "AWS only"),
        (["create", "x", *SAGEMAKER, "--image-builder", "layer"], "flavor.not_found", "layers"),
        (["create"], "stack.no_name", "name"),
        (["create", "-f", "none.yaml"], "stack.bad_file", "none.yaml"),
        (["delete", "aws"], "stack.is_current", "--force"),
        (["delete", "local"], "stack.is_local", "stack use"),
        (["use", "awz"], "stack.not_found", "'aws'"),
        (["update", "aws"], "stack.nothing_to_change", "--extra"),
        (["update", "aws", "--unset", "orchestrator"], "stack.bad_extra", "TARGET.FIELD"),
        (["update", "aws", "-o", "nobody"], "component.not_found", "orchestrator list"),
        (["update", "local", "--image", "x"], "stack.is_local", "stack create"),
        (["rename", "aws", "a b"], "stack.bad_name", "letters"),
        (["copy", "aws", "aws"], "stack.name_taken", "another name"),
        (["register", "x"], "stack.incomplete", "--orchestrator"),
        (["register", "x", "-o", "sm"], "component.not_found", "orchestrator list"),
        (["register", "x", "-o", "sm", "-e", "mlflow"], "stack.no_such_component", "flow's own code"),
        (["remove-component", "aws"], "stack.nothing_to_change", "-c"),
        (["remove-component", "aws", "-x"], "stack.no_component", "secrets-manager"),
        (["list", "--name", "like:x"], "stack.bad_filter", "contains"),
        (["list", "--sort-by", "size"], "stack.bad_filter", "created"),
        (["import", "x"], "stack.bad_file", "x.yaml"),
        (["connect", "aws", "-c", "x"], "stack.no_connectors", "--credentials"),
        (["deploy", "-p", "aws"], "stack.no_deploy", "clary bootstrap"),
        (["register-secrets", "aws"], "stack.no_secret_registration", "clary secrets set"),
    ],
)
def test_refusals(aws: CommandLine, arguments: list[str], code: str, words: str) -> None:
    answer = aws("stack", *arguments)
    assert answer.code in (1, 2)
    assert answer.out == ""
    assert f"Code: {code}" in answer.err, answer.err
    assert words in answer.err
    assert [row["name"] for row in aws("stack", "list", "-o", "json").json["items"]] == ["local", "aws", "sandbox"]


def test_update_says_what_changed(aws: CommandLine) -> None:
    answer = aws("stack", "update", "aws", "--instance-type", "ml.c5.xlarge", "--async", "--no-verify")
    assert answer.out.splitlines()[0] == "Updated stack: aws"
    assert "ml.m5.xlarge" in answer.out
    assert "ml.c5.xlarge" in answer.out
    undone = aws("stack", "update", "aws", "--unset", "orchestrator.instance_type", "--output", "json", "--no-verify")
    assert undone.json["item"]["changes"] == [
        {"setting": "instance_type", "left": "ml.c5.xlarge", "right": "ml.m5.xlarge"}
    ]
    moved = aws("stack", "update", "aws", "--artifact-store", "s3://other/y", "--no-verify", "--output", "json")
    assert moved.json["item"]["changes"][0]["right"] == "s3://other/y"


def test_composed_stacks(clary: CommandLine) -> None:
    compose(clary, "team", "--set")
    assert clary("stack", "get", "-o", "json").json["item"]["name"] == "team"
    shown = clary("stack", "show", "team", "-o", "json").json["item"]
    assert shown["is_managed"] is False
    assert [part["name"] for part in shown["components"]] == ["sm", "store", "ecr"]
    parts.register("artifact_store", "other", "s3", {"path": "s3://c-c/y"})
    assert clary("stack", "update", "team", "-a", "other", "--no-verify").code == 0
    assert clary("stack", "remove-component", "team", "-c", "--output", "json").code == 0
    assert [part["name"] for part in clary("stack", "show", "team", "-o", "json").json["item"]["components"]] == [
        "sm",
        "other",
    ]


def test_both_spellings_of_options(clary: CommandLine) -> None:
    compose(clary)
    assert (
        clary("stack", "register", "two", "--orchestrator", "sm", "--artifact_store", "store", "--no-verify").code == 0
    )
    underscored = [
        word.replace("artifact-store", "artifact_store").replace("execution-role", "execution_role")
        for word in SAGEMAKER
    ]
    assert clary("stack", "create", "x", *underscored).code == 0


def test_a_component_of_another_kind_of_place_is_refused(clary: CommandLine) -> None:
    compose(clary)
    parts.register("artifact_store", "folder", "local", {"path": "/x"})
    assert (
        clary("stack", "register", "x", "-o", "sm", "-a", "folder", "--output", "json").error["code"] == "stack.mixed"
    )
    parts.register("artifact_store", "keyed", "s3", {"path": "s3://b-b/x", "credentials": "aws-profile:a"})
    parts.update("orchestrator", "sm", {"credentials": "aws-profile:b"})
    conflict = clary("stack", "register", "x", "-o", "sm", "-a", "keyed", "--output", "json").error
    assert (conflict["code"], conflict["field"]) == ("stack.conflict", "credentials")


def test_rename_copy_diff_export_import(aws: CommandLine) -> None:
    assert aws("stack", "copy", "aws", "twin").out == "Copied stack: aws → twin\n"
    assert aws("stack", "diff", "aws", "twin").out == "aws and twin do not differ.\n"
    aws("stack", "update", "twin", "--image", "x/y:1", "--no-verify")
    assert aws("stack", "diff", "aws", "twin", "-o", "json").json["items"] == [
        {"setting": "image", "left": None, "right": "x/y:1"}
    ]
    assert aws("stack", "rename", "twin", "second").code == 0
    assert aws("stack", "export", "second", "second.yaml").code == 0
    assert aws("stack", "export", "second", "second.yaml", "-o", "json").error["code"] == "stack.file_exists"
    assert aws("stack", "export", "second").out == Path("second.yaml").read_text()
    assert (
        aws("stack", "delete", "second", "-r", "-y").out.splitlines()[1].startswith("Deleted components: second (orch")
    )
    assert aws("stack", "import", "second", "--no-verify").code == 0
    assert aws("stack", "current", "-o", "json").json["item"]["name"] == "aws"
    assert aws("stack", "export", "second").out == Path("second.yaml").read_text()


def test_export_requirements(aws: CommandLine) -> None:
    from clary import __version__

    assert aws("stack", "export-requirements", "aws").out == f"clary=={__version__}\n"
    assert aws("stack", "export-requirements", "-o", "needs.txt").code == 0
    assert Path("needs.txt").read_text() == f"clary=={__version__}\n"
    assert aws("stack", "export-requirements", "-o", "needs.txt").code == 2
    assert aws("stack", "export-requirements", "-o", "needs.txt", "-ov").code == 0


def test_list_filters_sorts_and_pages(aws: CommandLine) -> None:
    for name in ("web", "batch"):
        aws("stack", "create", name, "--no-activate")

    def names(*options: str) -> list[str]:
        return [row["name"] for row in aws("stack", "list", *options, "-o", "json").json["items"]]

    assert names("--name", "contains:a") == ["local", "aws", "batch"]
    assert names("--type", "local", "--sort-by", "desc:name") == ["web", "local", "batch"]
    assert names("--name", "startswith:b") == names("--name", "batch") == names("--name", "endswith:tch")
    assert names("--size", "2", "--page", "2") == ["batch", "web"]
    assert names("--sort_by", "created")[-2:] == ["batch", "sandbox"]


def test_current_says_which_source_decided(aws: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def current() -> tuple[str, str]:
        item = aws("stack", "current", "-o", "json").json["item"]
        return item["name"], item["origin"]

    from clary import config

    assert current() == ("aws", "saved")
    Path("pyproject.toml").write_text('[tool.clary]\nstack = "local"\n')
    assert current() == ("local", "project")
    monkeypatch.setenv("CLARY_STACK", "aws")
    assert current() == ("aws", "environment")
    config.configure(stack="local")
    assert current() == ("local", "configure")
    assert json.loads(aws("stack", "use", "aws", "-o", "json").out)["item"]["outranked_by"]["origin"] == "configure"
