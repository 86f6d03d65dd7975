"""Components by themselves: kept, found, changed for every stack that has them, and never by two at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary import config
from clary.control import stacks as rows
from clary.control.database import local
from clary.errors import ClaryError, ConfigError
from clary.secrets.local import LocalSecrets
from clary.stacks import changes, entries, parts, service
from clary.stacks.draft import Draft

ROLE = "arn:aws:iam::123456789012:role/team"
RUNNER = {"region": "us-east-1", "execution_role": ROLE}
PROCESSES = 4


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine."""
    monkeypatch.delenv("CLARY_STACK", raising=False)
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value.code


def runner(name: str = "run", **more: Any) -> parts.Part:
    return parts.register("orchestrator", name, "sagemaker", {**RUNNER, **more})


def store(name: str = "keep", **more: Any) -> parts.Part:
    return parts.register("artifact_store", name, "s3", {"path": "s3://team-bucket", **more})


def compose(name: str, orchestrator: str = "run", artifact_store: str = "keep") -> None:
    service.register(name, {"orchestrator": orchestrator, "artifact_store": artifact_store})


def test_what_was_registered_is_found_by_name_and_id() -> None:
    made = runner(tags={"team": "ml"}).component
    assert made.id is not None
    assert parts.find("orchestrator", "run").component == made
    assert parts.find("orchestrator", made.id).component == made
    assert code_of(parts.find, "artifact_store", "run") == "component.not_found"
    with pytest.raises(ClaryError, match="'run'"):
        parts.find("orchestrator", "runn")


def test_names_are_of_one_kind() -> None:
    runner("same")
    store("same")
    assert code_of(runner, "same") == "component.name_taken"
    assert [part.component.name for part in parts.listing("orchestrator")] == ["same"]


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "é", "🙂", "a/b", "a\nb", "x" * 64, "..", "--flavor", "a\x00"])
def test_odd_names_are_refused(name: str) -> None:
    assert code_of(runner, name) == "component.bad_name"
    runner()
    assert code_of(parts.rename, "orchestrator", "run", name) == "component.bad_name"
    assert code_of(parts.copy, "orchestrator", "run", name) == "component.bad_name"
    assert len(parts.listing("orchestrator")) == 1


@pytest.mark.parametrize("name", ["a", "0", "local", "sandbox", "A.b_c-d", "x" * 63, "NULL", "select"])
def test_plain_names_are_taken(name: str) -> None:
    assert runner(name).component.name == name


def test_values_come_back_as_they_were() -> None:
    odd = "環境 é 🙂 \u202e\"'\\;--" + "x" * 1_000_000
    runner(external_id=odd, assume_role=ROLE)
    assert parts.find("orchestrator", "run").component.options["external_id"] == odd


def test_a_refused_component_is_not_stored() -> None:
    assert code_of(parts.register, "orchestrator", "a", "sagemaker", {"region": "x"}) == "component.bad_options"
    assert code_of(parts.register, "orchestrator", "a", "kubernetes", {}) == "flavor.not_found"
    assert parts.listing("orchestrator") == []


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ClaryError) as error:
        parts.register("orchestrator", "a", "sagemaker", {"region": "x", "volume_size_in_gb": -1, "regoin": "y"})
    found = {finding["field"] for finding in error.value.details["findings"]}
    assert found == {
        "orchestrator.region",
        "orchestrator.execution_role",
        "orchestrator.volume_size_in_gb",
        "orchestrator.regoin",
    }


def test_an_update_holds_for_every_stack() -> None:
    runner(tags={"team": "ml", "cost": "low"})
    store()
    compose("one")
    compose("two")
    part = parts.update("orchestrator", "run", {"tags": {"team": "ops"}, "volume-size-in-gb": 50}, unset=["tags.cost"])
    assert part.stacks == ("one", "two")
    for name in part.stacks:
        assert service.find(name).stack.settings == {"tags": {"team": "ops"}, "volume_size_in_gb": 50}
    assert part.component.created == parts.find("orchestrator", "run").component.created


def test_what_makes_a_stack_impossible_changes_nothing() -> None:
    runner(credentials="aws-profile:team")
    store()
    compose("one")
    conflict = {"credentials": "aws-profile:other"}
    assert code_of(parts.update, "artifact_store", "keep", conflict) == "stack.conflict"
    assert "credentials" not in parts.find("artifact_store", "keep").component.options
    assert code_of(parts.update, "orchestrator", "run", {}, unset=["region"]) == "component.bad_options"
    assert service.find("one").stack.region == "us-east-1"


@pytest.mark.parametrize("path", ["tags.nothing", "tags.team.more", "nothing", "region.x", ""])
def test_only_what_is_set_can_be_taken_out(path: str) -> None:
    runner(tags={"team": "ml"})
    assert code_of(parts.update, "orchestrator", "run", {}, unset=[path]) == "component.not_set"


def test_options_are_taken_out_in_any_spelling() -> None:
    runner(tags={"cost-center": "7", "a_b": "c"}, assume_role=ROLE)
    unset = ["tags.cost-center", "aws-auth-role-arn"]
    assert parts.update("orchestrator", "run", {}, unset=unset).component.options["tags"] == {"a_b": "c"}


def test_a_component_keeps_its_id_and_stacks_through_a_rename() -> None:
    before = runner().component
    store()
    compose("one")
    after = parts.rename("orchestrator", "run", "walk")
    assert (after.component.id, after.component.name, after.stacks) == (before.id, "walk", ("one",))
    assert service.find("one").component("orchestrator") == after.component
    runner("other")
    assert code_of(parts.rename, "orchestrator", "walk", "other") == "component.name_taken"
    assert code_of(parts.rename, "orchestrator", "nobody", "else") == "component.not_found"


def test_a_copy_is_another_component() -> None:
    first = runner(tags={"team": "ml"}).component
    second = parts.copy("orchestrator", "run", "twin").component
    assert (second.options, second.flavor) == (first.options, first.flavor)
    assert second.id != first.id
    parts.update("orchestrator", "twin", {"tags": {"team": "ops"}})
    assert parts.find("orchestrator", "run").component == first


def test_nothing_that_a_stack_has_is_deleted() -> None:
    runner()
    store()
    compose("one")
    assert code_of(parts.delete, "orchestrator", "run") == "component.in_use"
    service.delete("one")
    parts.delete("orchestrator", "run")
    assert code_of(parts.delete, "orchestrator", "run") == "component.not_found"


def test_a_change_of_one_stack_does_not_reach_the_others() -> None:
    runner()
    store()
    compose("one")
    compose("two")
    code = code_of(changes.update, "one", options={"orchestrator": {"region": "eu-west-1"}})
    assert code == "component.shared"


def test_keys_that_were_written_out_go_to_the_encrypted_store(machine: Path) -> None:
    part = store(credentials="aws-access-keys:AKIAPLANTED:PLANTEDSECRET")
    assert len(part.warnings) == 1
    assert part.component.options["credentials"] == part.component.provides["credentials"] == "aws-secret:stack-keep"
    assert LocalSecrets().read("stack-keep")["aws_secret_access_key"] == "PLANTEDSECRET"
    part = parts.update("artifact_store", "keep", {"credentials": "aws-access-keys:AKIAPLANTED:PLANTEDAGAIN"})
    assert len(part.warnings) == 1
    assert LocalSecrets().read("stack-keep")["aws_secret_access_key"] == "PLANTEDAGAIN"
    kept = b"".join(path.read_bytes() for path in machine.rglob("*") if path.is_file())
    assert b"PLANTED" not in kept


def test_keys_of_one_component_never_replace_those_of_another() -> None:
    def secret_of(kind: str, name: str) -> str:
        source = str(parts.find(kind, name).component.options["credentials"])
        return LocalSecrets().read(source.removeprefix("aws-secret:"))["aws_secret_access_key"]

    runner("same", credentials="aws-access-keys:AKIA:FIRST")
    store("same", credentials="aws-access-keys:AKIA:SECOND")
    parts.rename("orchestrator", "same", "other")
    runner("same", credentials="aws-access-keys:AKIA:THIRD")
    parts.update("artifact_store", "same", {"credentials": "aws-access-keys:AKIA:FOURTH"})
    assert secret_of("orchestrator", "other") == "FIRST"
    assert secret_of("artifact_store", "same") == "FOURTH"
    assert secret_of("orchestrator", "same") == "THIRD"


def test_keys_go_with_the_last_component_that_refers_to_them() -> None:
    store(credentials="aws-access-keys:AKIA:FIRST")
    parts.copy("artifact_store", "keep", "twin")
    parts.rename("artifact_store", "keep", "moved")
    assert parts.delete("artifact_store", "moved").secrets == ()
    assert LocalSecrets().exists("stack-keep")
    parts.update("artifact_store", "twin", {"path": "s3://team-bucket/elsewhere"})
    assert parts.delete("artifact_store", "twin").secrets == ("stack-keep",)
    assert LocalSecrets().entries() == []


def test_keys_go_when_others_take_their_place() -> None:
    store(credentials="aws-access-keys:AKIA:FIRST")
    parts.update("artifact_store", "keep", {"credentials": "aws-profile:team"})
    assert LocalSecrets().entries() == []
    assert parts.find("artifact_store", "keep").component.keys is None


def test_a_secret_of_somebody_s_own_is_neither_replaced_nor_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "MINE"}
    LocalSecrets().edit("stack-keep", lambda _: mine)
    kept = store(credentials="aws-access-keys:AKIA:FIRST").component
    assert kept.keys != "stack-keep"
    runner(credentials="aws-secret:stack-keep")
    assert parts.delete("orchestrator", "run").secrets == ()
    with monkeypatch.context() as patch:
        patch.setattr(LocalSecrets, "delete", _locked)
        deleted = parts.delete("artifact_store", "keep")
    assert deleted.secrets == ()
    assert len(deleted.warnings) == 1
    assert LocalSecrets().read("stack-keep") == mine


def _locked(*_: object, **__: object) -> None:
    raise ConfigError("secret.no_key", "The key is not here.", next_step="Put it back.")


def test_a_component_of_a_stack_is_listed_with_it() -> None:
    draft = Draft(
        "whole",
        "sagemaker",
        artifact_store="s3://team-bucket",
        container_registry="123456789012.dkr.ecr.us-east-1.amazonaws.com",
        region="us-east-1",
        execution_role=ROLE,
    )
    service.create(draft)
    for kind in ("orchestrator", "artifact_store", "container_registry"):
        assert [(part.component.name, part.stacks) for part in parts.listing(kind)] == [("whole", ("whole",))]


def test_five_hundred_components_are_quick() -> None:
    made, kept = runner().component, store().component
    with local().transaction() as connection:  # all at once: keeping them one by one is not what is measured
        for number in range(500):
            one = entries.add_component(connection, replace(made, name=f"run-{number:03}"))
            chosen = {"orchestrator": str(one.id), "artifact_store": str(kept.id)}
            if number < 100:
                rows.add(connection, name=f"stack-{number:02}", type_="sagemaker", components=chosen, managed=False)
    started = time.perf_counter()
    found = parts.listing("orchestrator")
    taken = time.perf_counter() - started
    assert [part.component.name for part in found] == ["run", *(f"run-{number:03}" for number in range(500))]
    assert sum(len(part.stacks) for part in found) == 100
    assert taken < 1, f"{taken:.2f} s"
    started = time.perf_counter()
    runner("one-more")
    parts.update("artifact_store", "keep", {"path": "s3://other-bucket"})
    parts.rename("artifact_store", "keep", "kept")
    taken = time.perf_counter() - started
    assert taken < 2, f"{taken:.2f} s"


RACER = """
import sys, json
from clary.errors import ClaryError, ConfigError
from clary.stacks import parts
sys.stdin.readline()
try:
    made = parts.register("orchestrator", "same", "sagemaker", json.loads(sys.argv[1]))
    print(made.component.options["image"])
except ClaryError as error:
    print(error.code)
"""


def test_of_several_processes_one_gets_the_name() -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, json.dumps({**RUNNER, "image": f"image-{number}"})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    won = [answer for answer in said if answer.startswith("image-")]
    assert len(won) == 1, said
    assert said.count("component.name_taken") == PROCESSES - 1, said
    assert parts.find("orchestrator", "same").component.options["image"] == won[0]
