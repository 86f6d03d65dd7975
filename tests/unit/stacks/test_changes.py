"""Stacks updated, renamed, copied, compared, exported and made again; components shared with another stack survive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import clary
from clary import config
from clary.errors import ClaryError
from clary.secrets.local import LocalSecrets
from clary.stacks import changes, describe, export, parts, service
from clary.stacks.draft import parse_extra, read_file, wish

if TYPE_CHECKING:
    from clary.stacks.entries import Entry

PLAIN: dict[str, Any] = {
    "type": "sagemaker",
    "artifact_store": "s3://my-bucket/prefix",
    "container_registry": "arn:aws:ecr:eu-central-1:123456789012:repository/team/kitaru",
    "region": "eu-central-1",
    "execution_role": "arn:aws:iam::123456789012:role/Jobs",
}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine."""
    monkeypatch.delenv("CLARY_STACK", raising=False)
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(name: str = "demo", **options: Any) -> Entry:
    return service.create(wish(name, {**PLAIN, **options}).draft).entry


def refused(call: Any, *arguments: Any, **options: Any) -> ClaryError:
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value


def compose(name: str = "shared") -> Entry:
    parts.register("orchestrator", "runner", "sagemaker", {k: PLAIN[k] for k in ("region", "execution_role")})
    parts.register("artifact_store", "store", "s3", {"path": PLAIN["artifact_store"]})
    chosen = {"orchestrator": "runner", "artifact_store": "store"}
    return service.register(name, chosen).entry


def test_the_registry_of_the_documented_example_is_taken_as_it_is_written() -> None:
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    assert make("a").stack.container_registry == f"{host}/team/kitaru"
    assert make("b", container_registry=f"{host}/kitaru").stack.container_registry == f"{host}/kitaru"
    by_extra = make("c", container_registry=host, extra={"container_registry": {"default_repository": "kitaru"}})
    assert by_extra.stack.container_registry == f"{host}/kitaru"


def test_async_is_a_shorthand_and_an_explicit_extra_wins() -> None:
    assert make("a", **{"async": True}).stack.synchronous is False
    assert make("b", **{"async": True}, extra={"orchestrator": {"synchronous": True}}).stack.synchronous is True
    assert make("c").stack.synchronous is True


def test_an_unknown_option_of_a_component_gets_the_nearest_and_stores_nothing() -> None:
    error = refused(make, extra={"orchestrator": {"instnce_type": "ml.m5.large"}})
    assert (error.code, error.field) == ("stack.bad_value", "orchestrator.instnce_type")
    assert "instance_type" in error.next_step
    assert parts.listing("orchestrator") == []


def test_everything_wrong_is_said_at_once() -> None:
    error = refused(make, artifact_store="gs://b", region="x", extra={"orchestrator": {"volume_size_in_gb": -1}})
    fields = {finding["field"] for finding in error.details["findings"]}
    assert fields == {"artifact_store", "region", "orchestrator.volume_size_in_gb"}


def test_a_role_of_another_partition_is_refused() -> None:
    assert refused(make, execution_role="arn:aws-cn:iam::123456789012:role/R").code == "aws.other_partition"


def test_an_update_lays_options_over_and_says_what_changed() -> None:
    before = make(extra={"orchestrator": {"tags": {"team": "ml", "cost": "x"}}})
    options = {"orchestrator": {"tags": {"team": "data"}, "instance-type": "ml.m5.large"}}
    updated = changes.update("demo", options=options, unset=[("orchestrator", "tags.cost")])
    assert updated.entry.id == before.id
    assert updated.entry.stack.settings == {"tags": {"team": "data"}, "instance_type": "ml.m5.large"}
    assert {change.name for change in updated.changes} == {"tags", "instance_type"}
    assert changes.update("demo", options={"orchestrator": {}}).changes == ()


def test_an_update_is_refused_whole() -> None:
    make()
    error = refused(changes.update, "demo", options={"orchestrator": {"region": "us-east-1", "volume": 3}})
    assert error.code == "component.bad_options"
    assert service.find("demo").stack.region == "eu-central-1"
    assert refused(changes.update, "demo", unset=[("orchestrator", "image")]).code == "component.not_set"
    assert refused(changes.update, "demo", unset=[("orchestrator", "region")]).code == "component.bad_options"
    assert refused(changes.update, "demo", options={"image_builder": {}}).code == "stack.no_component"
    assert refused(changes.update, "local", options={}).code == "stack.is_local"


def test_a_shared_component_is_changed_by_its_own_name_only() -> None:
    compose("one")
    service.register("two", {"orchestrator": "runner", "artifact_store": "store"})
    error = refused(changes.update, "one", options={"orchestrator": {"image": "x"}})
    assert error.code == "component.shared"
    assert "two" in error.summary
    parts.update("orchestrator", "runner", {"image": "x"})
    assert [service.find(name).stack.image for name in ("one", "two")] == ["x", "x"]


def test_deleting_spares_components_of_other_stacks() -> None:
    compose("one")
    service.register("two", {"orchestrator": "runner", "artifact_store": "store"})
    assert service.delete("one", recursive=True).components == ()
    assert service.find("two").stack.region == "eu-central-1"
    deleted = service.delete("two", recursive=True)
    assert {part.name for part in deleted.components} == {"runner", "store"}
    assert parts.listing("orchestrator") == []


def test_deleting_without_recursive_keeps_components_and_says_so() -> None:
    make()
    deleted = service.delete("demo", force=True)
    assert {part.kind for part in deleted.kept} == {"orchestrator", "artifact_store", "container_registry"}
    error = refused(make)
    assert error.code == "component.name_taken"
    assert "clary artifact-store delete demo" in error.next_step


def test_renaming_takes_own_components_along_and_leaves_registered_ones() -> None:
    before = make()
    after = changes.rename("demo", "prod")
    assert (after.id, after.stack.name) == (before.id, "prod")
    assert {part.name for part in after.components} == {"prod"}
    assert service.resolve().name == "prod"
    compose()
    assert {part.name for part in changes.rename("shared", "other").components} == {"runner", "store"}
    assert refused(changes.rename, "other", "prod").code == "stack.name_taken"
    assert refused(changes.rename, "other", "local").code == "stack.reserved_name"
    assert refused(changes.rename, "gone", "x").code == "stack.not_found"


def test_a_copy_has_components_of_its_own() -> None:
    make(extra={"orchestrator": {"tags": {"team": "ml"}}})
    copied = changes.copy("demo", "twin")
    assert describe.differences(service.find("demo"), copied) == []
    changes.update("twin", options={"orchestrator": {"image": "x"}})
    assert service.find("demo").stack.image is None
    found = describe.differences(service.find("demo"), service.find("twin"))
    assert [(one.name, one.left, one.right) for one in found] == [("image", None, "x")]


def test_every_setting_says_where_it_comes_from() -> None:
    entry = make(extra={"orchestrator": {"tags": {"team": "ml"}}})
    origins = {setting.name: setting.origin for setting in describe.settings(entry)}
    assert origins["region"] == "orchestrator demo"
    assert origins["artifact_store"] == "artifact store demo"
    assert origins["container_registry"] == "container registry demo"
    assert origins["tags"] == "orchestrator demo"
    assert origins["instance_type"] == origins["synchronous"] == "default"


def make_again(before: Entry, folder: Path) -> Entry:
    file = folder / "stack.yaml"
    file.write_text(export.to_yaml(before))
    service.delete(before.stack.name, force=True, recursive=True)
    return service.create(wish(None, {}, read_file(file)).draft).entry


def test_a_composed_stack_is_made_again_and_shares_what_is_there(machine: Path) -> None:
    before = compose()
    service.register("other", {"orchestrator": "runner", "artifact_store": "store"})
    again = make_again(before, machine)
    assert again.stack == before.stack
    assert [part.to_dict() for part in again.components[:1]] == [part.to_dict() for part in before.components[:1]]
    assert {user for part in parts.listing("orchestrator") for user in part.stacks} == {"other", "shared"}
    parts.update("orchestrator", "runner", {"image": "changed"})
    document = yaml.safe_load(export.to_yaml(before))
    (machine / "old.yaml").write_text(yaml.safe_dump({**document, "name": "third"}))
    error = refused(service.create, wish(None, {}, read_file(machine / "old.yaml")).draft)
    assert error.code == "component.name_taken"


def test_a_dry_run_stores_nothing() -> None:
    created = service.create(wish("demo", PLAIN).draft, dry_run=True)
    assert created.entry.stack.region == "eu-central-1"
    assert [entry.stack.name for entry in service.listing().entries] == ["local"]


def test_stacks_from_python(machine: Path) -> None:
    made = clary.create_stack("here", artifact_store=str(machine / "runs"))
    assert clary.current_stack() == made == clary.Stack("here", "local", str(machine / "runs"))
    aws = clary.create_stack("aws", **PLAIN, extra={"orchestrator": {"use_spot": True}}, verify=False, activate=False)
    assert (aws.region, aws.settings) == ("eu-central-1", {"use_spot": True})
    assert [stack.name for stack in clary.list_stacks()] == ["local", "aws", "here"]
    assert clary.use_stack("aws").name == "aws"
    clary.configure(stack="here")
    assert clary.current_stack().name == "here"
    clary.configure()
    clary.delete_stack("aws", force=True, recursive=True)
    assert clary.current_stack().name == "local"
    with pytest.raises(ClaryError, match="sandbox start"):
        clary.create_stack("box", type="sandbox")


def test_keys_that_are_written_out_go_into_the_encrypted_store(machine: Path) -> None:
    draft = wish("demo", {**PLAIN, "credentials": "aws-access-keys:AKIDEXAMPLE:wJalrXUtnFEMIsecret"}).draft
    created = service.create(draft)
    assert created.entry.stack.credentials == "aws-secret:stack-demo"
    assert any("history" in warning for warning in created.warnings)
    kept = b"".join(file.read_bytes() for file in (machine / "home").rglob("*") if file.is_file())
    assert b"wJalrXUtnFEMIsecret" not in kept
    assert "wJalrXUtnFEMIsecret" not in export.to_yaml(service.find("demo"))
    changes.rename("demo", "other")
    assert LocalSecrets().exists("stack-demo")
    service.delete("other", force=True)
    assert LocalSecrets().exists("stack-demo")  # its components are left
    service.create(wish("third", PLAIN).draft)
    changes.update("third", chosen={"orchestrator": "other"})
    service.delete("third", force=True, recursive=True)
    assert LocalSecrets().entries() == []


def test_options_given_twice_must_agree() -> None:
    extra = parse_extra(["orchestrator.region=us-east-1"])
    assert refused(make, extra=extra).code == "stack.given_twice"
    assert make(extra=parse_extra(["orchestrator.region=eu-central-1"])).stack.region == "eu-central-1"
