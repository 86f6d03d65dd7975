"""References at submit: what is taken out of a request, what is looked at, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary.agent import secrets
from clary.agent.place import Place
from clary.errors import ClaryError, ConfigError, UsageError, ValidationError
from clary.sagemaker.settings import JobSettings
from clary.stacks.model import Stack, local_stack
from scripted_aws import ScriptedAws, refusal

REFERENCE = "{{secrets.db.PASSWORD}}"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedAws]:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with ScriptedAws().serving() as served:
        yield served


@pytest.fixture
def place(aws: ScriptedAws) -> Iterator[Place]:
    stack = Stack("team", "sagemaker", "s3://bucket/prefix", region="eu-west-1", endpoint_url=aws.url)
    opened = Place(stack)
    yield opened
    opened.aws.close()


def with_secrets(place: Place, **options: Any) -> Place:
    return Place(replace(place.stack, secrets=options))


def test_variables_with_references_leave_the_request(place: Place, aws: ScriptedAws) -> None:
    wanted = JobSettings(
        environment={"PLAIN": "x", "URL": f"db://{REFERENCE}@h"},
        request={"Environment": {"OTHER": REFERENCE, "KEPT": "y"}, "HyperParameters": {"a": "b"}},
    )
    kept, referring, where = secrets.taken_out(place, wanted)
    assert kept.environment == {"PLAIN": "x"}
    assert kept.request == {"Environment": {"KEPT": "y"}, "HyperParameters": {"a": "b"}}
    assert referring == {"URL": f"db://{REFERENCE}@h", "OTHER": REFERENCE}
    assert where == {"flavor": "aws", "endpoint": aws.url, "region": "eu-west-1", "prefix": "clary/"}
    assert aws.calls == []


def test_settings_without_references_stay_as_they_are(place: Place) -> None:
    wanted = JobSettings(environment={"PLAIN": "{{ jinja }}"})
    assert secrets.taken_out(place, wanted) == (wanted, {}, None)


def test_the_stacks_own_secrets_manager_is_named(place: Place) -> None:
    wanted = JobSettings(environment={"X": REFERENCE})
    *_, where = secrets.taken_out(with_secrets(place, flavor="ssm", prefix="team/app/"), wanted)
    assert where is not None
    assert (where["flavor"], where["prefix"]) == ("ssm", "/team/app")
    with pytest.raises(ConfigError, match=r"secret\.not_in_job"):
        secrets.taken_out(with_secrets(place, flavor="local"), wanted)
    with pytest.raises(ConfigError, match="Did you mean 'ssm'"):
        secrets.taken_out(with_secrets(place, flavor="sssm"), wanted)


@pytest.mark.parametrize(
    ("settings", "code", "field"),
    [
        ({"environment": {"X": "{{secrets.db}}"}}, "secret.bad_reference", "environment.X"),
        ({"request": {"Environment": {"X": "{{secrets.db"}}}, "secret.bad_reference", "request.Environment.X"),
        ({"request": {"HyperParameters": {"a": REFERENCE}}}, "secret.misplaced", "request.HyperParameters.a"),
        ({"tags": {"a": REFERENCE}}, "secret.misplaced", "tags.a"),
    ],
)
def test_a_reference_in_the_wrong_place_is_refused(
    place: Place, settings: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        secrets.taken_out(place, JobSettings(**settings))
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    "answer", [refusal("AccessDeniedException", "User: arn:aws:iam::1:user/me is not authorized"), (500, {})]
)
def test_what_may_not_be_looked_at_is_a_note(place: Place, aws: ScriptedAws, answer: Any) -> None:
    aws.answers("GetSecretValue", answer)
    (note,) = secrets.check(place, {"X": REFERENCE})
    assert note.startswith("The secret 'db' could not be checked: ")


def test_what_is_there_is_no_note_and_asked_for_once(place: Place, aws: ScriptedAws) -> None:
    aws.answers("GetSecretValue", (200, {"SecretString": json.dumps({"PASSWORD": "a value", "USER": "me"})}))
    assert secrets.check(place, {"X": REFERENCE, "Y": f"{REFERENCE} {{{{secrets.db.USER}}}}"}) == []
    assert len(aws.calls) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal("ResourceNotFoundException"), "secret.not_found"),
        ((200, {"SecretString": "{}"}), "secret.key_not_found"),
        (refusal("InvalidRequestException", "it was marked for deletion"), "secret.being_deleted"),
    ],
)
def test_what_is_missing_is_an_error(place: Place, aws: ScriptedAws, answer: Any, code: str) -> None:
    aws.answers("GetSecretValue", answer)
    aws.answers("ListSecrets", (200, {"SecretList": []}))
    with pytest.raises(ClaryError) as caught:
        secrets.check(place, {"X": REFERENCE})
    assert caught.value.code == code


def test_the_local_stack_has_no_account(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"secret\.no_aws"):
        secrets.open_secrets(local_stack(str(tmp_path)), "aws")


@pytest.mark.parametrize("layer", [{"environment": ["a"]}, {"environment": {"A": ["b"]}}, {"environment": {"": "b"}}])
def test_variables_of_a_local_run_are_checked(layer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"settings\.invalid"):
        secrets.local_variables(layer)


def test_layers_of_variables_become_one() -> None:
    layers: list[dict[str, Any]] = [
        {},
        {"environment": None},
        {"environment": {"A": 1, "B": "b", "C": "c"}},
        {"environment": {"B": None}},
    ]
    assert secrets.local_variables(*layers) == {"A": "1", "C": "c"}
