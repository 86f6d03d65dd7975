"""Processing jobs: messages, outputs, stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from patience import until

if TYPE_CHECKING:
    from unit.sandbox_life.support import Platform

pytestmark = pytest.mark.namespaces


def output(name: str, mode: str, path: str = "/opt/ml/processing/out") -> dict[str, Any]:
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": f"s3://bucket/{name}", "LocalPath": path, "S3UploadMode": mode},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("b'fine'", "fine"),
        ("'é'.encode() * 600", "é" * 512),
        ("b'x' + 'é'.encode() * 600", "x" + "é" * 511),
        (r"b'half \xc3'", None),
    ],
)
def test_the_exit_message_is_text_of_at_most_1024_bytes(platform: Platform, body: str, message: str | None) -> None:
    job = platform.process("p", f"open('/opt/ml/output/message', 'wb').write({body})")
    described = platform.ended(job)
    if message is None:
        assert described["ProcessingJobStatus"] == "Failed"
        assert "not UTF-8" in described["FailureReason"]
    else:
        assert (described["ProcessingJobStatus"], described["ExitMessage"]) == ("Completed", message)


def test_continuous_outputs_arrive_while_the_job_runs(platform: Platform) -> None:
    code = "open('/opt/ml/processing/out/first', 'w').write('1'); print('up'); import time; time.sleep(600)"
    job = platform.process("p", code, ProcessingOutputConfig={"Outputs": [output("live", "Continuous")]})
    until(lambda: platform.folder_objects.keys("live") == ["live/first"], "the output")
    platform.stop(job)
    described = platform.ended(job)
    assert described["ProcessingJobStatus"] == "Stopped"
    assert described["ProcessingEndTime"] > described["ProcessingStartTime"]
    assert "SecondaryStatusTransitions" not in described


def test_the_time_limit(platform: Platform) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(600)"
    job = platform.process("p", code, StoppingCondition={"MaxRuntimeInSeconds": 20})
    assert platform.ended(job)["ProcessingJobStatus"] == "Stopped"


def test_paths_elsewhere_are_refused(platform: Platform) -> None:
    outputs = {"Outputs": [output("o", "EndOfJob", "/opt/ml/processing/../../../etc")]}
    described = platform.ended(platform.process("p", "pass", ProcessingOutputConfig=outputs))
    assert "must be below /opt/ml/processing" in described["FailureReason"]
