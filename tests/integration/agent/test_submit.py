"""What submitting calls, uploads and leaves behind, against a sandbox."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import lifecycle, service
from clary.agent.place import place_of
from clary.errors import AwsError, ClaryError, ConfigError, NotFoundError, SerializationError, ValidationError
from integration.agent.conftest import Proxy, Recorder

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack

Keys = Callable[[], list[str]]

pytestmark = pytest.mark.usefixtures("project")


def _changed(stack: Stack, **fields: Any) -> Stack:
    return dataclasses.replace(stack, **fields)


def test_a_run_is_recorded_with_all_that_its_job_needs(
    stack: Stack, sandbox: testing.Sandbox, keys: Keys, observer: Recorder
) -> None:
    run = service.start(service.load_target("flows.py:squares"), {"count": 2}, stack, observer=observer)

    state = place_of(stack).read(run.id)
    attempt = state.attempts[1]
    assert attempt.request is not None
    spec = json.loads(place_of(stack).store.get(f"specs/{attempt.spec['digest']}.json") or b"")
    assert spec["flow"] == {"file": "flows.py", "name": "squares"}
    assert spec["python"] == sandbox.image.rpartition(":")[2]
    assert f"code/{spec['code']}.tar.gz" in keys()
    assert f"runtime/{spec['runtime']}/start.py" in keys()
    assert f"runtime/{spec['runtime']}/manifest.json" in keys()
    described = sandbox.client("sagemaker").describe_training_job(TrainingJobName=attempt.job)
    assert described["Environment"] == attempt.request["Environment"]
    assert described["Environment"]["CLARY_ATTEMPT"] == "1"
    assert described["Environment"]["CLARY_RUN"].startswith(f"{stack.artifact_store}/runs/{run.id}?")
    assert described["AlgorithmSpecification"]["ContainerEntrypoint"][0] == "python3"
    notes = " ".join(observer.of("note"))
    assert "runtime" in notes
    assert "project's code: 2 files" in notes
    assert service.wait(stack, run.id, 60).result == "1"


def test_an_unchanged_project_costs_five_requests_in_three_round_trips(stack: Stack, observer: Recorder) -> None:
    with Proxy(stack.endpoint_url or "") as proxy:
        through = _changed(stack, endpoint_url=proxy.endpoint)
        target = service.load_target("flows.py:squares")
        first = service.start(target, {"count": 1}, through)
        service.stop(through, first.id)
        proxy.requests.clear()
        proxy.together = threading.Barrier(3)

        second = service.start(target, {"count": 1}, through, observer=observer)
        asked = list(proxy.requests)
        proxy.together = None
        service.stop(through, second.id)

    looks, effects = asked[:3], asked[3:]
    assert all(what.startswith("HEAD") for what in looks)  # at once, else none would have been answered
    assert [what.split("?")[0].partition(stack.artifact_store.removeprefix("s3:/"))[2] for what in effects] == [
        f"/runs/{second.id}/log/0000000001.json",
        "",
    ]
    assert effects[1] == "SageMaker.CreateTrainingJob"
    assert observer.of("note") == ["Time limit 1 hour (max_runtime_in_seconds sets it)."]


def test_what_is_gone_from_the_bucket_is_uploaded_again(stack: Stack, sandbox: testing.Sandbox, keys: Keys) -> None:
    target = service.load_target("flows.py:squares")
    service.wait(stack, service.start(target, {"count": 1}, stack).id, 60)
    s3, prefix = sandbox.client("s3"), stack.artifact_store.removeprefix(f"s3://{sandbox.bucket}/")
    before = keys()
    for key in before:
        if key.startswith(("code/", "runtime/", "specs/")):
            s3.delete_object(Bucket=sandbox.bucket, Key=f"{prefix}/{key}")

    again = service.start(target, {"count": 1}, stack)

    assert service.wait(stack, again.id, 60).status == "completed"
    assert set(before) <= set(keys())


def test_a_large_input_travels_as_an_object(stack: Stack, keys: Keys) -> None:
    run = service.start(service.load_target("flows.py:takes"), {"value": "x" * 200_000}, stack)

    assert service.wait(stack, run.id, 60).result == "200000"
    assert len([key for key in keys() if key.startswith("values/")]) == 1


def test_an_input_that_cannot_be_kept_is_named(stack: Stack) -> None:
    with pytest.raises(SerializationError, match="because of the input value\\[0\\]"):
        service.start(service.load_target("flows.py:takes"), {"value": [threading.Lock()]}, stack)


@pytest.mark.parametrize(
    ("change", "inputs", "code"),
    [
        ({}, {"value": threading.Lock()}, "value.not_serializable"),
        ({}, {"valeu": 1}, "flow.unknown_input"),
        ({"image": None}, {"value": "x"}, "submit.no_image"),
        ({"execution_role": None}, {"value": "x"}, "sagemaker.no_role"),
        ({"execution_role": "somebody"}, {"value": "x"}, "settings.invalid"),
        ({"settings": {"instance_type": "large"}}, {"value": "x"}, "settings.invalid"),
        ({"settings": {"instance_tpye": "ml.m5.xlarge"}}, {"value": "x"}, "settings.invalid"),
        ({"settings": {"enable_network_isolation": True}}, {"value": "x"}, "settings.invalid"),
        ({"settings": {"environment": {"X": "y" * 600}}}, {"value": "x"}, "settings.invalid"),
        ({"artifact_store": "s3://no-such-bucket-here/x"}, {"value": "x" * 200_000}, "stack.bucket_not_found"),
        ({"execution_role": "arn:aws:iam::123456789012:role/nobody"}, {"value": "x"}, "stack.role_not_found"),
        ({"endpoint_url": "http://127.0.0.1:9"}, {"value": "x"}, "aws.unreachable"),
    ],
)
def test_bad_input_is_refused_before_anything_is_stored(
    stack: Stack, keys: Keys, change: dict[str, Any], inputs: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClaryError) as caught:
        service.start(service.load_target("flows.py:takes"), inputs, _changed(stack, **change))

    assert caught.value.code == code
    assert caught.value.next_step
    assert keys() == []


def test_a_bucket_that_has_gone_since_shows_before_the_first_upload(stack: Stack, sandbox: testing.Sandbox) -> None:
    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket="soon-gone")
    elsewhere = _changed(stack, artifact_store="s3://soon-gone/x")
    target = service.load_target("flows.py:squares")
    from clary.agent.verified import verify_once

    verify_once(elsewhere)
    s3.delete_bucket(Bucket="soon-gone")

    with pytest.raises(NotFoundError) as caught:
        service.start(target, {}, elsewhere)

    assert caught.value.code == "store.bucket_not_found"


def test_a_flow_of_no_file_is_not_sent(stack: Stack, keys: Keys) -> None:
    from clary import flow

    spaces: dict[str, Any] = {"flow": flow, "__name__": "nowhere"}
    exec("@flow\ndef typed():\n    return 1\n", spaces)

    with pytest.raises(ClaryError) as caught:
        service.start(service.target_of(spaces["typed"]), {}, stack)

    assert caught.value.code == "submit.no_project"
    assert keys() == []


def test_a_job_that_is_refused_is_on_record_with_the_reason(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.quotas.set("ml.p3.2xlarge for training job usage", 0)
    greedy = _changed(stack, settings={"instance_type": "ml.p3.2xlarge"})

    run = service.start(service.load_target("flows.py:squares"), {}, greedy)

    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.cause == "quota"
    assert "ml.p3.2xlarge" in run.failure.summary
    assert service.list_runs(greedy)[0].status == "failed"
    fits = service.resume(stack, run.id)  # with the stack's own, smaller machines
    assert service.wait(stack, fits.id, 60).status == "completed"


def _one_at_a_time(stack: Stack, sandbox: testing.Sandbox, instance_type: str) -> tuple[Stack, str]:
    """Return a stack whose quota is one job, and the run that uses it up."""
    sandbox.quotas.set(f"{instance_type} for training job usage", 1)
    narrow = _changed(stack, settings={"instance_type": instance_type})
    long = {"count": 600, "pause": 0.1}
    return narrow, service.start(service.load_target("flows.py:squares"), long, narrow).id


def test_a_quota_that_is_used_up_is_waited_for(
    stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_QUOTA_PAUSE", 0.1)
    narrow, first = _one_at_a_time(stack, sandbox, "ml.c5.2xlarge")

    class StopsTheFirst(Recorder):
        def note(self, text: str) -> None:
            super().note(text)
            if "quota" in text:
                service.stop(narrow, first)

    observer = StopsTheFirst()
    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, narrow, observer=observer)

    assert run.status == "submitted"
    assert any("ml.c5.2xlarge" in note for note in observer.of("note"))
    assert service.wait(stack, run.id, 60).status == "completed"


def test_a_quota_that_stays_used_up_ends_the_attempt(
    stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "QUOTA_PATIENCE", 0.3)
    monkeypatch.setattr(lifecycle, "_QUOTA_PAUSE", 0.1)
    narrow, first = _one_at_a_time(stack, sandbox, "ml.c5.4xlarge")

    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, narrow)

    assert run.status == "failed"
    assert run.failure is not None
    assert (run.failure.cause, run.failure.retry) == ("quota", "later")
    service.stop(narrow, first)


def test_who_only_looks_neither_waits_for_quota_nor_gives_the_run_up(
    stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clary.sagemaker import jobs

    def unreachable(*_: Any, **__: Any) -> str:
        raise AwsError("aws.unreachable", "AWS cannot be reached.", next_step="Check the network.")

    monkeypatch.setattr(lifecycle, "QUOTA_PATIENCE", 0.0)
    narrow, first = _one_at_a_time(stack, sandbox, "ml.c5.9xlarge")
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "create", unreachable)
        with pytest.raises(AwsError) as caught:
            service.start(service.load_target("flows.py:squares"), {"count": 1}, narrow)
    run = caught.value.details["run"]

    assert {view.id: view.status for view in service.list_runs(narrow, limit=2)}[run] == "submitted"
    assert service.get_run(narrow, run).status == "submitted"

    service.stop(narrow, first)
    assert service.wait(narrow, run, 60).status == "completed"


def test_a_lost_reply_of_create_makes_one_job(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.faults.lost_reply("CreateTrainingJob")

    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, stack)

    assert service.wait(stack, run.id, 60).status == "completed"
    assert len(service.get_run(stack, run.id).attempts) == 1


def test_lost_and_refused_writes_of_the_claim_lose_and_double_nothing(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.faults.lost_reply("PutObject", match="*/log/*", times=1)
    sandbox.faults.conflict(match="*/log/*", times=1)

    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, stack)

    assert service.wait(stack, run.id, 60).status == "completed"
    with place_of(stack).log(run.id) as log:
        kinds = [record["kind"] for entry in log.read() for record in entry["records"]]
    assert kinds.count("created") == kinds.count("attempt") == kinds.count("completed") == 1


def test_when_it_is_not_known_whether_the_job_was_made_the_next_look_settles_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clary.sagemaker import jobs

    def unreachable(*_: Any, **__: Any) -> str:
        raise AwsError("aws.unreachable", "AWS cannot be reached.", next_step="Check the network.")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "create", unreachable)
        with pytest.raises(AwsError) as caught:
            service.start(service.load_target("flows.py:squares"), {"count": 1}, stack)

    run = caught.value.details["run"]
    assert run in caught.value.next_step
    assert service.list_runs(stack)[0].status == "submitted"
    assert service.wait(stack, run, 60).status == "completed"


def test_secrets_are_named_and_stay_behind(stack: Stack, project: Path, observer: Recorder) -> None:
    (project / ".env").write_text("TOKEN=1")

    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, stack, observer=observer)

    assert any(".env" in note for note in observer.of("note"))
    service.stop(stack, run.id)


def test_errors_of_settings_name_the_field(stack: Stack) -> None:
    with pytest.raises((ConfigError, ValidationError)) as caught:
        service.start(
            service.load_target("flows.py:squares"), {}, _changed(stack, settings={"volume_size_in_gb": "many"})
        )

    assert caught.value.field == "settings.volume_size_in_gb"
