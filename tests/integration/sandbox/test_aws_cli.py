"""The unmodified AWS CLI against a sandbox that really runs the jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.sandbox.conftest import make_processing_request, make_training_request
from patience import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary import testing

_AWS = Path(sys.executable).with_name("aws")
_SCRIPT = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("the model lies ready", flush=True)
pathlib.Path("/opt/ml/model/weights.txt").write_text("42")
signal.pause()
"""
_PROCESS = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pathlib.Path("/opt/ml/processing/out/table.csv").write_text("a,b")
print("the table lies ready", flush=True)
signal.pause()
"""


@pytest.fixture
def real(clary_sandbox: testing.Sandbox) -> testing.Sandbox:
    """The sandbox that the library's own fixture starts, as users' tests get it."""
    return clary_sandbox


@pytest.fixture
def aws(real: testing.Sandbox, tmp_path: Path) -> Callable[..., Any]:
    """Run one command of the AWS CLI in an empty home; return what it printed, read as JSON if it is."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_PAGER": "", **real.environment}

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(_AWS), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    return run


def said(real: testing.Sandbox, group: str, job: str) -> str | None:
    """Return the name of the job's log stream once it is there."""
    logs = real.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return None
    return str(streams[0]["logStreamName"]) if streams else None


def test_a_training_job_by_the_aws_cli(real: testing.Sandbox, aws: Callable[..., Any], tmp_path: Path) -> None:
    request = make_training_request(real, "by-cli")
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python", "-c"]
    request["AlgorithmSpecification"]["ContainerArguments"] = ["import os; exec(os.environ['CODE'])"]
    request["Environment"] = {"CODE": _SCRIPT}
    made = aws("sagemaker", "create-training-job", "--cli-input-json", json.dumps(request))
    assert made["TrainingJobArn"].endswith(":training-job/by-cli")
    stream = until(lambda: said(real, "/aws/sagemaker/TrainingJobs", "by-cli"))
    shown = aws("sagemaker", "describe-training-job", "--training-job-name", "by-cli")
    assert (shown["TrainingJobStatus"], shown["SecondaryStatus"]) == ("InProgress", "Training")
    listed = aws("sagemaker", "list-training-jobs", "--name-contains", "by-cli")
    assert [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]] == ["by-cli"]
    aws("sagemaker", "stop-training-job", "--training-job-name", "by-cli")
    client = real.client("sagemaker")
    ended = until(
        lambda: next(
            (
                job
                for job in [client.describe_training_job(TrainingJobName="by-cli")]
                if job["TrainingJobStatus"] not in ("InProgress", "Stopping")
            ),
            None,
        )
    )
    assert ended["TrainingJobStatus"] == "Stopped"
    group = ("--log-group-name", "/aws/sagemaker/TrainingJobs")
    events = aws("logs", "get-log-events", *group, "--log-stream-name", stream)["events"]
    assert [event["message"] for event in events] == ["the model lies ready"]
    aws("s3", "cp", ended["ModelArtifacts"]["S3ModelArtifacts"], str(tmp_path / "model.tar.gz"))
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        member = archive.extractfile("weights.txt")
        assert member is not None
        assert member.read() == b"42"


def test_a_processing_job_by_the_aws_cli(real: testing.Sandbox, aws: Callable[..., Any]) -> None:
    target = f"s3://{real.bucket}/tables"
    output = {"S3Uri": target, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "Continuous"}
    request = make_processing_request(
        real,
        "by-cli",
        AppSpecification={
            "ImageUri": real.image,
            "ContainerEntrypoint": ["python", "-c", "import os; exec(os.environ['ONE'] + os.environ['TWO'])"],
        },
        Environment={"ONE": _PROCESS[:200], "TWO": _PROCESS[200:]},
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
    )
    made = aws("sagemaker", "create-processing-job", "--cli-input-json", json.dumps(request))
    assert made["ProcessingJobArn"].endswith(":processing-job/by-cli")
    stream = until(lambda: said(real, "/aws/sagemaker/ProcessingJobs", "by-cli"))
    shown = aws("sagemaker", "describe-processing-job", "--processing-job-name", "by-cli")
    assert shown["ProcessingJobStatus"] == "InProgress"
    listed = aws("sagemaker", "list-processing-jobs", "--status-equals", "InProgress")
    assert [job["ProcessingJobName"] for job in listed["ProcessingJobSummaries"]] == ["by-cli"]
    group = ("--log-group-name", "/aws/sagemaker/ProcessingJobs")
    events = aws("logs", "get-log-events", *group, "--log-stream-name", stream)["events"]
    assert [event["message"] for event in events] == ["the table lies ready"]
    aws("sagemaker", "stop-processing-job", "--processing-job-name", "by-cli")
    client = real.client("sagemaker")
    until(lambda: client.describe_processing_job(ProcessingJobName="by-cli")["ProcessingJobStatus"] == "Stopped")
    assert aws("s3", "cp", f"{target}/table.csv", "-") == "a,b"
