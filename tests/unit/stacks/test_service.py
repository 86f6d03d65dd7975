"""Stacks made, chosen and deleted: what is stored, what is refused, and that a refusal stores nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clary import config
from clary.control import stacks as rows
from clary.control.database import local
from clary.errors import ClaryError, NotFoundError
from clary.stacks import entries, service
from clary.stacks.draft import Draft
from clary.stacks.model import Stack
from clary.stacks.rules import Place

PLACE = Place("http://127.0.0.1:4566", "bucket", "arn:aws:iam::123456789012:role/sandbox", "123456789012", "us-east-1")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine."""
    monkeypatch.delenv("CLARY_STACK", raising=False)
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> list[str]:
    return [entry.stack.name for entry in service.listing().entries]


def code_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value.code


def test_a_fresh_machine_has_the_stack_local(machine: Path) -> None:
    listing = service.listing()
    assert names() == ["local"]
    assert (listing.current.value, listing.current.origin, listing.sandbox_missing) == ("local", "default", True)
    assert service.resolve().artifact_store == str(machine / "home" / "local")


def test_a_new_stack_becomes_current_unless_told_otherwise() -> None:
    first = service.create(Draft("a"))
    assert (first.current, first.previous) == ("a", "local")
    second = service.create(Draft("b"), activate=False)
    assert (second.current, second.previous) == ("a", None)
    assert names() == ["local", "a", "b"]
    assert service.resolve().name == "a"
    assert service.find(second.entry.id).stack.name == "b"


def test_a_refused_stack_is_not_stored() -> None:
    def refuse(stack: Stack) -> list[str]:
        raise NotFoundError("stack.bucket_not_found", "no", next_step="make it")

    assert code_of(service.create, Draft("a"), verify=refuse) == "stack.bucket_not_found"
    assert code_of(service.create, Draft("a", "sagemaker")) == "stack.missing_fields"
    assert names() == ["local"]
    assert service.resolve().name == "local"


def test_a_taken_name_suggests_to_use_it() -> None:
    service.create(Draft("a"))
    with pytest.raises(ClaryError, match="stack use a") as error:
        service.create(Draft("a"))
    assert error.value.code == "stack.name_taken"


def test_warnings_of_the_verification_are_passed_on() -> None:
    assert service.create(Draft("a"), verify=lambda stack: [f"look at {stack.name}"]).warnings == ("look at a",)


def test_use_says_what_outranks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    service.create(Draft("a"))
    entry, choice = service.use("local")
    assert (entry.stack.name, choice.value) == ("local", "local")
    monkeypatch.setenv("CLARY_STACK", "a")
    assert service.use("local")[1].origin == "environment"
    assert service.current()[1].value == "a"


def test_an_unknown_stack_names_the_nearest_and_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    service.create(Draft("training"))
    with pytest.raises(NotFoundError, match="training"):
        service.find("trainign")
    with pytest.raises(NotFoundError, match="sandbox start"):
        service.find("sandbox")
    monkeypatch.setenv("CLARY_STACK", "gone")
    with pytest.raises(NotFoundError, match="CLARY_STACK"):
        service.resolve()
    assert service.resolve("training").name == "training"


def test_a_saved_stack_that_is_gone_is_refused_not_replaced() -> None:
    service.create(Draft("a"))
    with local().transaction() as connection:
        rows.remove(connection, service.find("a").id)
    with pytest.raises(NotFoundError, match="stack use"):
        service.resolve()


def test_deleting() -> None:
    service.create(Draft("a"))
    service.create(Draft("b"))
    assert service.delete("a").new_current is None
    assert code_of(service.delete, "b") == "stack.is_current"
    assert service.delete("b", force=True).new_current == "local"
    assert code_of(service.delete, "b") == "stack.not_found"
    assert code_of(service.delete, "local", force=True) == "stack.is_local"
    assert names() == ["local"]
    assert service.resolve().name == "local"


def test_a_sandbox_stack_can_be_refreshed_and_keeps_its_id() -> None:
    made = service.create(Draft("sandbox", "sandbox"), place=PLACE).entry
    assert not service.listing().sandbox_missing
    moved = Stack(**{**made.stack.to_dict(), "endpoint_url": "http://127.0.0.1:9"})
    assert service.refresh(moved).id == made.id
    assert service.find("sandbox").stack.endpoint_url == "http://127.0.0.1:9"


def test_a_stack_of_a_newer_clary_can_be_read() -> None:
    service.create(Draft("a"))
    with local().transaction() as connection:
        part = service.find("a").components[0]
        newer = replace(part, provides=part.provides | {"not_yet_invented": 1})
        entries.replace_component(connection, newer)
    assert service.find("a").stack.name == "a"
