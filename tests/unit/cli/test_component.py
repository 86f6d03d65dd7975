"""``clary orchestrator`` and its sisters: every command, every spelling, every refusal, on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from clary.cli import component, component_text
from clary.cli.component_options import split
from clary.cli.main import root
from clary.cli.other_kinds import OTHER_KINDS
from clary.errors import ClaryError
from clary.stacks.flavors import KINDS

if TYPE_CHECKING:
    from command_line import Answer, CommandLine

ROLE = "arn:aws:iam::123456789012:role/team"
SAGEMAKER = ("-f", "sagemaker", "--region=us-east-1", f"--execution_role={ROLE}")
EXAMPLES = {
    "orchestrator": ["--flavor=sagemaker", "--region=us-east-1", f"--execution-role={ROLE}"],
    "artifact-store": ["--flavor=s3", "--path=s3://team-bucket/runs"],
    "container-registry": ["--flavor=aws", "--uri=123456789012.dkr.ecr.us-east-1.amazonaws.com"],
    "image-builder": ["--flavor=kaniko", "--namespace=builds"],
    "secrets-manager": ["--flavor=ssm", "--prefix=team/"],
}
KEYS = "aws-access-keys:AKIAPLANTED:PLANTEDSECRET"


def composed(clary: CommandLine) -> None:
    """Register an orchestrator and an artifact store, and a current stack of them."""
    assert clary("orchestrator", "register", "run", *SAGEMAKER).code == 0
    assert clary("artifact-store", "register", "keep", *EXAMPLES["artifact-store"]).code == 0
    assert clary("stack", "register", "team", "-o", "run", "-a", "keep", "--no-verify", "--set").code == 0


def refused(answer: Answer, code: str, *said: str) -> None:
    """Check that a command was refused in so many words, and printed nothing else."""
    assert answer.code != 0
    assert answer.out == ""
    assert f"Code: {code}" in answer.err, answer.err
    assert "Traceback" not in answer.err
    for words in said:
        assert words in answer.err


@pytest.mark.parametrize("command", list(EXAMPLES))
def test_the_life_of_a_component(clary: CommandLine, command: str) -> None:
    made = clary(command, "register", "a", *EXAMPLES[command], "-o", "json")
    assert (made.code, made.err) == (0, "")
    assert made.json["command"] == f"{command} register"
    item = made.json["item"]
    assert (item["name"], item["kind"], item["stacks"]) == ("a", command.replace("-", "_"), [])
    assert item["options"]
    shown = clary(command, "show", "a", "-o", "json").json
    assert shown == {"command": f"{command} show", "item": {k: v for k, v in item.items() if k != "warnings"}}
    assert clary(command, "describe", item["id"], "-o", "json").json == shown

    option, value = next((name, value) for name, value in item["options"].items() if isinstance(value, str))
    updated = clary(command, "update", "a", f"--{option}", value, "-o", "json").json["item"]
    assert updated == item
    assert clary(command, "copy", "a", "b", "-o", "json").json["item"]["options"] == item["options"]
    assert clary(command, "rename", "b", "c", "-o", "json").json["item"]["name"] == "c"
    listed = clary(command, "list", "-o", "json").json
    assert ([row["name"] for row in listed["items"]], listed["count"]) == (["a", "c"], 2)
    assert clary(command, "delete", "a", "-y", "-o", "json").json["item"]["deleted"]["id"] == item["id"]
    assert clary(command, "delete", "c").out == f"Deleted {command.replace('-', ' ')}: c\n"
    assert "yet" in clary(command, "list").out


def test_every_command_speaks_to_people_too(clary: CommandLine) -> None:
    made = clary("orchestrator", "register", "run", *SAGEMAKER, "--tags.team=ml")
    assert made.out.startswith("Registered orchestrator: run (sagemaker)\nregion:")
    assert "tags.team:      ml\n" in made.out
    assert clary("orchestrator", "rename", "run", "walk").out == "Renamed orchestrator: run → walk\n"
    assert clary("orchestrator", "copy", "walk", "run").out == "Copied orchestrator: walk → run\n"
    shown = clary("orchestrator", "show", "run").out
    assert "Stacks:  none" in shown
    assert "tags.team" in shown
    listed = clary("orchestrator", "list").out.splitlines()
    assert len(listed) == 2
    assert listed[0].startswith("run: ")
    assert listed[0].endswith("sagemaker  us-east-1")
    assert clary("orchestrator", "update", "run", "--tags.team=ops").out.startswith("Updated orchestrator: run")


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_explained_in_either_spelling(clary: CommandLine, kind: str) -> None:
    command = KINDS[kind].command
    said = clary(command, "explain").out
    assert len(said) > 150
    assert max(map(len, said.splitlines())) <= 100
    assert clary(kind, "explain").out == said
    data = clary(kind, "explain", "-o", "json").json
    assert data["command"] == f"{command} explain"
    assert data["item"]["kind"] == kind
    assert set(component_text.EXPLAINED) == set(component.SUMMARIES) == set(KINDS)


def test_the_component_of_the_current_stack(clary: CommandLine) -> None:
    composed(clary)
    shown = clary("orchestrator", "show", "-o", "json").json["item"]
    assert (shown["name"], shown["active_stack"], shown["stacks"]) == ("run", "team", ["team"])
    assert clary("orchestrator", "get", "-o", "json").json["item"] == shown
    assert clary("orchestrator", "get").out.startswith("Active stack: team (")
    assert "(active)" in clary("orchestrator", "list").out
    refused(clary("container-registry", "get"), "stack.no_component", "team", "stack update team --container-registry")
    clary("stack", "use", "local")
    assert clary("artifact-store", "get", "-o", "json").json["item"]["flavor"] == "local"
    assert "(active)" not in clary("orchestrator", "list").out


def test_a_component_of_a_stack_is_not_deleted(clary: CommandLine) -> None:
    composed(clary)
    refused(clary("artifact-store", "delete", "keep"), "component.in_use", "team")
    clary("stack", "delete", "team", "--force")
    assert clary("artifact-store", "delete", "keep").code == 0


def test_an_update_reaches_the_stack_and_names_what_it_breaks(clary: CommandLine) -> None:
    composed(clary)
    assert clary("orchestrator", "update", "run", "--instance-type", "ml.m5.large").code == 0
    settings = clary("stack", "show", "team", "-o", "json").json["item"]["settings"]
    held = {"name": "instance_type", "value": "ml.m5.large", "origin": "orchestrator run"}
    assert held in settings
    assert clary("orchestrator", "remove-attribute", "run", "instance-type").code == 0
    assert held not in clary("stack", "show", "team", "-o", "json").json["item"]["settings"]
    refused(clary("orchestrator", "remove-attribute", "run", "region"), "component.bad_options", "--region=REGION")
    refused(clary("orchestrator", "update", "run"), "component.nothing_to_change", "flavor describe sagemaker")
    refused(clary("orchestrator", "update", "run", "-f", "local"), "component.flavor_stays", "--flavor=local")


def test_attributes_are_removed_in_every_spelling(clary: CommandLine) -> None:
    tags = ["--tags.cost-center=a", "--tags.team=ml", "--synchronous=false", "--external_id=1", f"--assume-role={ROLE}"]
    clary("orchestrator", "register", "run", *SAGEMAKER, *tags)
    left = clary("orchestrator", "remove-attribute", "run", "--tags.cost-center", "external-id", "-o", "json").json
    assert left["item"]["options"]["tags"] == {"team": "ml"}
    assert "external_id" not in left["item"]["options"]
    left = clary("orchestrator", "remove_attribute", "run", "--aws_auth_role_arn", "--output=json").json
    assert "assume_role" not in left["item"]["options"]
    refused(clary("orchestrator", "remove-attribute", "run", "nothing"), "component.not_set", "region")
    refused(clary("orchestrator", "remove-attribute", "run"), "cli.usage")


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        (["--image=a:1"], {"image": "a:1"}),
        (["--image", "a:1"], {"image": "a:1"}),
        (["--endpoint-url", "http://h"], {"endpoint_url": "http://h"}),
        (["--synchronous", "no"], {"synchronous": False}),
        (["--external_id=0123", f"--assume_role={ROLE}"], {"external_id": "0123", "assume_role": ROLE}),
        (["--image=12345"], {"image": "12345"}),
        (["--image='12345'"], {"image": "12345"}),
        (["--image=-x"], {"image": "-x"}),
        (["--image=a=b=c"], {"image": "a=b=c"}),
        (["--image", "é 漢 🙂"], {"image": "é 漢 🙂"}),
        (["--tags.team=ml", "--tags.cost-center", "7a"], {"tags": {"team": "ml", "cost-center": "7a"}}),
        (["--tags={team: ml}"], {"tags": {"team": "ml"}}),
        (["--tags.until=2024-01-31"], {"tags": {"until": "2024-01-31"}}),
        (["--instance_type=[ml.m5.large, ml.m5.xlarge]"], {"instance_type": ["ml.m5.large", "ml.m5.xlarge"]}),
        (["--environment.TOKEN={{secrets.hf.token}}"], {"environment": {"TOKEN": "{{secrets.hf.token}}"}}),
        (["--env", "A=1", "--env=B=x: y"], {"environment": {"A": "1", "B": "x: y"}}),
        (["--request.ResourceConfig.VolumeKmsKeyId=k"], {"request": {"ResourceConfig": {"VolumeKmsKeyId": "k"}}}),
        (["--processor_tags.a=b"], {"tags": {"a": "b"}}),
        (["--endpoint_urls.sagemaker-runtime=http://h"], {"endpoint_urls": {"sagemaker-runtime": "http://h"}}),
    ],
)
def test_options_in_all_their_forms(clary: CommandLine, typed: list[str], options: dict[str, object]) -> None:
    for words in (["run", *SAGEMAKER, *typed], [*typed, *SAGEMAKER, "--", "run"], [*typed, "run", *SAGEMAKER]):
        made = clary("orchestrator", "register", "-o", "json", *words)
        assert made.code == 0, made.err
        kept = made.json["item"]["options"]
        assert kept == {"region": "us-east-1", "execution_role": ROLE, **options}
        assert clary("orchestrator", "delete", "run").code == 0


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["--regoin=x"], "component.bad_options", "Did you mean 'region'?"),
        (["--Image=x"], "component.bad_options", "Did you mean 'image'?"),
        (["--image"], "component.no_value", "--image=VALUE"),
        (["--synchronous", "--image=x"], "component.no_value", "--synchronous=true"),
        (["--image", "-x"], "component.no_value", "--image=VALUE"),
        (["--image="], "component.bad_options", "expected text"),
        (["--image=a", "--image=b"], "component.given_twice", "--image is given twice"),
        (["--endpoint-url=http://a", "--endpoint_url=http://b"], "component.given_twice", "--endpoint-url"),
        (["--processor_role=x"], "component.bad_options", "given twice"),
        (["--tags.a=b", "--tags={c: d}"], "component.given_twice", "--tags.a"),
        (["--tags.a=b", "--tags.a.c=d"], "component.given_twice", "same option"),
        (["--tags..a=b"], "component.bad_option", "--tags.team=ml"),
        (["--=x"], "component.bad_option", "--NAME=VALUE"),
        (["--tags={a"], "stack.bad_value", "--tags"),
        (["--ouput=json"], "cli.no_such_option", "--output"),
        (["-x"], "cli.no_such_option", "-x"),
        (["--flavor=local"], "component.bad_options", "is no option of the local orchestrator"),
        (["spare"], "cli.usage", "spare"),
        (["--env", "A"], "cli.usage", "NAME=VALUE"),
        (["-l", "a=b"], "component.foreign_option", "--tags.NAME=VALUE"),
        (["--label", "a=b"], "component.foreign_option", "no labels"),
        (["-c", "aws"], "component.foreign_option", "aws-profile:NAME"),
        (["--connector=aws"], "component.foreign_option", "no service connectors"),
        (["-r", "x"], "component.foreign_option", "aws-profile:NAME"),
        (["--resource-id", "x"], "component.foreign_option", "no service connectors"),
        (["--secret=hf"], "component.foreign_option", "{{secrets.SECRET.KEY}}"),
        (["--aws_access_key_id=AKIAPLANTED"], "component.bad_options", "aws-secret:NAME"),
        (["--credentials=PLANTEDSECRET"], "component.bad_options", "not a source of credentials"),
        (["--estimator_args.train_instance_cuont=2"], "component.bad_options", "instance_count"),
    ],
)
def test_what_is_wrong_is_refused_with_what_to_type(clary: CommandLine, typed: list[str], code: str, said: str) -> None:
    answer = clary("orchestrator", "register", "run", *SAGEMAKER, *typed)
    refused(answer, code, said)
    assert "PLANTED" not in answer.err
    assert clary("orchestrator", "list", "-o", "json").json["count"] == 0


def test_a_missing_flavor_names_those_there_are(clary: CommandLine) -> None:
    refused(clary("orchestrator", "register", "x"), "component.no_flavor", "local, sagemaker")
    refused(clary("container-registry", "register", "x"), "component.no_flavor", "only one: --flavor=aws")
    refused(clary("orchestrator", "register", "x", "--flavour=local"), "component.no_flavor", "--flavor")
    refused(clary("orchestrator", "register", "x", "-f", "sagemakr"), "flavor.not_found", "'sagemaker'")
    refused(clary("orchestrator", "register"), "cli.usage", "NAME")


def test_what_is_refused_is_json_when_asked_for(clary: CommandLine) -> None:
    answer = clary("orchestrator", "register", "run", "--image", "-o", "json")
    assert answer.error["code"] == "component.no_value"
    assert json.loads(answer.err)["command"] == "orchestrator register"
    error = clary("artifact_store", "register", "x", "-f", "s3", "--pth=s3://team-bucket", "-o", "json").error
    assert [finding["field"] for finding in error["details"]["findings"]] == [
        "artifact_store.pth",
        "artifact_store.path",
    ]
    error = clary("image-builder", "show", "nothing", "--debug", "-o", "json").error
    assert error["code"] == "component.not_found"
    assert "Traceback" in error["traceback"]


def test_keys_are_never_printed(clary: CommandLine, tmp_path: Path) -> None:
    answers = [
        clary("artifact-store", "register", "keep", "-f", "s3", "--path=s3://team-bucket", "--credentials", KEYS),
        clary("artifact-store", "update", "keep", f"--credentials={KEYS}", "-o", "json"),
        clary("artifact-store", "register", "keep", "-f", "s3", "--path=s3://team-bucket", f"--credentials={KEYS}"),
        clary("artifact-store", "register", "k", "-f", "s3", "--path=s3://x", f"--credentials={KEYS}", "--debug"),
        clary("artifact-store", "register", "k", "-f", "s3", "--path=s3://team-bucket", f"--credentials={KEYS}:x"),
        clary("artifact-store", "register", "k", "-f", "s3", "--secret=PLANTED", "--key=PLANTED"),
        clary("artifact-store", "list", "-o", "json"),
        clary("artifact-store", "show", "keep"),
    ]
    assert [answer.code for answer in answers] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert "shell's history" in answers[0].err
    assert "shell's history" in answers[1].json["item"]["warnings"][0]
    assert not any("PLANTED" in answer.out + answer.err for answer in answers)
    assert b"PLANTED" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_flavors_are_listed_and_described(clary: CommandLine) -> None:
    listed = clary("image-builder", "flavor", "list", "-o", "json").json
    assert [row["name"] for row in listed["items"]] == ["docker", "kaniko", "layers", "none"]
    assert all(row["package"].startswith("clary==") and row["summary"] for row in listed["items"])
    assert "kaniko" in clary("image_builder", "flavor", "list").out

    told = clary("orchestrator", "flavor", "describe", "sagemaker", "-o", "json").json["item"]
    options = {option["name"]: option for option in told["options"]}
    assert options["execution_role"]["aliases"] == ["processor_role"]
    assert options["region"]["required"]
    assert "volume_size_in_gb" in told["further_options"]
    assert not set(told["further_options"]) & (set(options) | set(told["refused"]))
    text = clary("orchestrator", "flavor", "describe", "sagemaker").out
    assert "--region" in text
    assert "--processor_role is --execution_role" in text
    assert "no options" in clary("image-builder", "flavor", "describe", "none").out
    refused(clary("orchestrator", "flavor", "describe", "sagemakr"), "flavor.not_found", "'sagemaker'")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["orchestrator", "flavor", "register", "my.module.Flavor"], "flavor.by_package", '"orchestrator.NAME"'),
        (["orchestrator", "flavor", "delete", "x"], "flavor.by_package", "flavor list"),
        (["orchestrator", "connect", "x", "-c", "aws", "-i"], "stack.no_connectors", "--credentials"),
        (["artifact-store", "disconnect", "x"], "stack.no_connectors", "artifact-store update"),
        (["image-builder", "connect"], "stack.no_connectors", "orchestrator update"),
        (["orchestrator", "logs", "x", "--follow"], "component.no_logs", "clary runs logs"),
        (["integration", "install", "aws", "s3", "-y"], "component.no_integrations", "orchestrator register"),
    ],
)
def test_commands_of_other_tools_say_what_to_do(clary: CommandLine, arguments: list[str], code: str, said: str) -> None:
    refused(clary(*arguments), code, said)
    assert clary(*arguments, "-o", "json").error["code"] == code


@pytest.mark.parametrize("name", sorted(OTHER_KINDS))
def test_other_kinds_of_components_say_what_to_do(clary: CommandLine, name: str) -> None:
    for spelling in {name, name.replace("-", "_")}:
        answer = clary(spelling, "register", "x", "--flavor=y", "--key=value")
        refused(answer, "stack.no_such_component", f"no {name.replace('-', ' ')}", OTHER_KINDS[name].instead[:30])


def test_other_kinds_are_in_no_list(clary: CommandLine) -> None:
    shown = clary("--help").out
    assert not any(f"  {name} " in shown for name in (*OTHER_KINDS, "integration", "artifact_store"))
    assert "connect" not in clary("orchestrator", "--help").out


def test_every_command_has_help_and_the_common_options() -> None:
    seen = 0
    for name in EXAMPLES:
        group = root.get_command(click.Context(root), name)
        assert isinstance(group, click.Group)
        context = click.Context(group)
        flavor = group.get_command(context, "flavor")
        assert isinstance(flavor, click.Group)
        for command in (*group.commands.values(), *flavor.commands.values()):
            options = {spelling for parameter in command.params for spelling in parameter.opts}
            assert {"-o", "--output", "--debug"} <= options, command.name
            assert command.help
            seen += 1
    assert seen == 12 * len(EXAMPLES)


TAKES = {"-f": True, "--flavor": True, "-y": False, "--yes": False, "-o": True, "--output": True}


@pytest.mark.parametrize(
    ("words", "ours", "theirs"),
    [
        (["a", "--k=v"], ["a"], [("k", "v")]),
        (["--k", "v", "a"], ["a"], [("k", "v")]),
        (["--k", "-5", "--l", "-.5", "--m", "-"], [], [("k", "-5"), ("l", "-.5"), ("m", "-")]),
        (["--k=", "--l", ""], [], [("k", ""), ("l", "")]),
        (["--k=--x"], [], [("k", "--x")]),
        (["-f", "--x", "a"], ["-f", "--x", "a"], []),
        (["-fx", "--k=v"], ["-fx"], [("k", "v")]),
        (["-yf", "--x", "--k=v"], ["-yf", "--x"], [("k", "v")]),
        (["-y", "--k=v"], ["-y"], [("k", "v")]),
        (["--yes", "--k=v"], ["--yes"], [("k", "v")]),
        (["--flavor=x", "--k=v", "--output", "json"], ["--flavor=x", "--output", "json"], [("k", "v")]),
        (["--", "--k=v"], ["--", "--k=v"], []),
        (["--k=v", "-f"], ["-f"], [("k", "v")]),
    ],
)
def test_words_are_told_apart(words: list[str], ours: list[str], theirs: list[tuple[str, str]]) -> None:
    assert split(words, TAKES) == (ours, theirs)


@pytest.mark.parametrize("words", [["--k"], ["--k", "--l=1"], ["--k", "-f", "x"], ["--k", "--"]])
def test_an_option_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(ClaryError) as error:
        split(words, TAKES)
    assert error.value.code == "component.no_value"


def test_the_help_of_the_root_imports_none_of_it() -> None:
    program = (
        "import sys; from clary.cli.main import run; run(['--help'])\n"
        "print([name for name in sys.modules if 'component' in name or 'flavors' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
