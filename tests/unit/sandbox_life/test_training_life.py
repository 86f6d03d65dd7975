"""Training jobs that do not simply run through: faults, stops, limits, restarts, odd data."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.sandbox.containers.plan import STATE
from clary.sandbox.life.folder import JobFolder, Phase, Progress
from clary.sandbox.model import Job, JobKind
from patience import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.sandbox_life.support import Platform

pytestmark = pytest.mark.namespaces
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 50_000, "MaxWaitTimeInSeconds": 60_000},
}


def channel(name: str, uri: str, kind: str = "S3Prefix", **changes: Any) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri, **changes.pop("source", {})}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}


def test_no_capacity_fails_the_job_before_it_costs_anything(platform: Platform) -> None:
    platform.faults["capacity"] = [{}]
    described = platform.ended(job := platform.train("j", "pass"))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("CapacityError: ")
    assert "BillableTimeInSeconds" not in described
    assert platform.statuses(job) == ["Starting", "Failed"]


def test_capacity_that_comes_late_is_said_meanwhile(platform: Platform) -> None:
    platform.faults["insufficient_capacity"] = [{"seconds": 300}]
    job = platform.train("j", "pass")
    until(
        lambda: "Insufficient capacity" in platform.now(job)["SecondaryStatusTransitions"][-1]["StatusMessage"],
        "the wait",
    )
    assert platform.ended(job)["TrainingJobStatus"] == "Completed"


def test_spot_machines_that_never_come(platform: Platform) -> None:
    platform.faults["capacity"] = [{}]
    limits = {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 30}
    job = platform.train("j", "pass", EnableManagedSpotTraining=True, StoppingCondition=limits)
    described = platform.ended(job)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert platform.statuses(job) == ["Starting", "Stopping", "MaxWaitTimeExceeded"]


def test_stop_while_waiting_for_machines(platform: Platform) -> None:
    platform.faults["insufficient_capacity"] = [{"seconds": 80_000}]
    job = platform.train("j", "pass")
    until(lambda: len(platform.statuses(job)) == 1, "the start")
    platform.stop(job)
    assert platform.ended(job)["TrainingJobStatus"] == "Stopped"
    assert platform.statuses(job) == ["Starting", "Stopping", "Stopped"]
    assert platform.folder_objects.keys() == []


def test_a_name_that_is_used_again_at_once(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[Job] = []
    transition = platform.store.transition

    def transition_and_reuse(job: Job, secondary: str, *args: Any, **changes: Any) -> Job:
        done = transition(job, secondary, *args, **changes)
        if secondary == "Completed" and not again:
            platform.store.delete(done)  # the first one's thread has still to remove its folder
            again.append(platform.train("j", "import time; print('up'); time.sleep(60)"))
        return done

    monkeypatch.setattr(platform.store, "transition", transition_and_reuse)
    first = platform.train("j", "pass")
    until(lambda: platform.log(first) == "up\n", "the second job's start")

    platform.stop(again[0])

    assert platform.ended(again[0])["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize(("retries", "status"), [(0, "Failed"), (1, "Completed")])
def test_only_internal_errors_are_tried_again(platform: Platform, retries: int, status: str) -> None:
    platform.faults["internal_error"] = [{}]
    request = {"RetryStrategy": {"MaximumRetryAttempts": retries}} if retries else {}
    job = platform.train("j", "pass", **request)
    described = platform.ended(job)
    assert described["TrainingJobStatus"] == status
    if retries:
        assert platform.statuses(job)[:4] == ["Starting", "Downloading", "Starting", "Downloading"]
    else:
        assert described["FailureReason"].startswith("InternalServerError")
    user = platform.train("u", "raise SystemExit(1)", RetryStrategy={"MaximumRetryAttempts": 3})
    assert platform.ended(user)["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert platform.statuses(user).count("Training") == 1


def test_a_planned_interruption_starts_the_job_again_and_is_not_billed(platform: Platform) -> None:
    platform.faults["spot_interruption"] = [{"seconds": 300}]
    code = (
        "import os, signal, time; os.makedirs('/opt/ml/checkpoints', exist_ok=True)\n"
        "if os.path.exists('/opt/ml/checkpoints/c'): raise SystemExit\n"
        "signal.signal(signal.SIGTERM, lambda *_: exit())\n"
        "open('/opt/ml/checkpoints/c', 'w').write('1'); open('/opt/ml/model/m', 'w').write('1'); time.sleep(600)"
    )
    job = platform.train("j", code, CheckpointConfig={"S3Uri": "s3://bucket/ck"}, **SPOT)
    described = platform.ended(job)
    assert platform.statuses(job).count("Interrupted") == 1
    assert described["TrainingJobStatus"] == "Completed"
    assert platform.folder_objects.keys("ck") == ["ck/c"]


def test_the_limit_holds_for_all_attempts_together(platform: Platform) -> None:
    platform.faults["spot_interruption"] = [{"seconds": 30}]
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(600)"
    limits = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 80_000}
    job = platform.train("j", code, EnableManagedSpotTraining=True, StoppingCondition=limits)
    assert platform.ended(job)["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_a_job_goes_on_over_a_restart_of_the_sandbox(make_platform: Callable[..., Platform]) -> None:
    before = make_platform()
    code = (
        "import os, time; print('before')\nwhile not os.path.exists('/opt/ml/go'): time.sleep(0.01)\n"
        "print('after'); open('/opt/ml/model/m', 'w').write('1')"
    )
    job = before.train("j", code)
    until(lambda: before.log(job) == "before\n", "the first line")
    before.close()
    (opt_ml,) = before.data.glob("jobs/*/training-j/algo-1/ml")
    (opt_ml / "go").touch()
    after = make_platform()
    after.streams = before.streams
    for left in after.store.unfinished():
        after.life.adopt(left)
    assert after.ended(job)["TrainingJobStatus"] == "Completed"
    assert after.log(job) == "before\nafter\n"
    assert after.folder_objects.keys("out") == ["out/j/output/model.tar.gz"]


@pytest.mark.parametrize("retries", [0, 1])
def test_lost_containers_are_an_internal_error(make_platform: Callable[..., Platform], retries: int) -> None:
    before = make_platform()
    request = {"RetryStrategy": {"MaximumRetryAttempts": 1}} if retries else {}
    job = before.train("j", "print('up'); import time; time.sleep(4)", **request)
    until(lambda: "up" in before.log(job), "the first line")
    before.close()
    (state,) = before.data.glob(f"jobs/*/*/*/scratch/{STATE}")
    os.kill(json.loads(state.read_text())["launcher"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{json.loads(state.read_text())['pid']}").exists(), "the container's end")
    after = make_platform()
    after.life.adopt(after.store.unfinished()[0])
    described = after.ended(job)
    if retries:
        assert described["TrainingJobStatus"] == "Completed"
    else:
        assert described["FailureReason"].startswith("InternalServerError")


def test_a_job_cut_in_the_upload_is_uploaded_by_the_next_process(platform: Platform) -> None:
    job = platform.create(JobKind.TRAINING, "j", platform.training("pass"))
    folder = JobFolder(platform.data, job)
    (folder.opt_ml("algo-1") / "model").mkdir(parents=True)
    (folder.opt_ml("algo-1") / "model/m").write_text("1")
    folder.write(Progress(phase=Phase.ENDED, exit_codes={"algo-1": 0}))
    platform.life.adopt(job)
    assert platform.ended(job)["TrainingJobStatus"] == "Completed"
    assert platform.folder_objects.keys("out") == ["out/j/output/model.tar.gz"]
    assert not folder.path.exists()


def test_sharding_manifests_and_paths(platform: Platform) -> None:
    for name in "abcd":
        platform.folder_objects.put(f"in/{name}", name.encode())
    platform.folder_objects.put("manifest", json.dumps([{"prefix": "s3://bucket/in/"}, "b", "d"]).encode())
    code = (
        "import os\nfor name in ('sharded', 'chosen', 'one', 'cut'):\n"
        "    print(os.environ['HOSTNAME'], name, sorted(os.listdir('/opt/ml/input/data/' + name)))"
    )
    job = platform.train(
        "j",
        code,
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        InputDataConfig=[
            channel("sharded", "s3://bucket/in", source={"S3DataDistributionType": "ShardedByS3Key"}),
            channel("chosen", "s3://bucket/manifest", "ManifestFile"),
            channel("one", "s3://bucket/in/a"),
            channel("cut", "s3://bucket/i"),
        ],
    )
    assert platform.ended(job)["TrainingJobStatus"] == "Completed"
    log = platform.log(job).splitlines()
    assert sorted(log) == sorted(
        f"{host} {line}"
        for host, mine in (("algo-1", ["a", "c"]), ("algo-2", ["b", "d"]))
        for line in (f"sharded {mine}", "chosen ['b', 'd']", "one ['a']", "cut ['in']")
    )


@pytest.mark.parametrize("key", ["in/../../escape", "in/./x", "in/a\0b"])
def test_keys_that_would_leave_their_folder_fail_the_job(platform: Platform, key: str) -> None:
    platform.folder_objects.strange[key] = b"x"
    described = platform.ended(platform.train("j", "pass", InputDataConfig=[channel("c", "s3://bucket/in")]))
    assert described["FailureReason"].startswith("ClientError: Data download failed:")
    assert described["TrainingJobStatus"] == "Failed"


@pytest.mark.parametrize(
    ("uri", "words"),
    [("s3://nowhere/x", "NoSuchBucket"), ("s3://bucket/none", 'No S3 objects found under S3 URL "s3://')],
)
def test_data_that_is_not_there(platform: Platform, uri: str, words: str) -> None:
    job = platform.train("j", "pass", InputDataConfig=[channel("c", uri)])
    assert words in platform.ended(job)["FailureReason"]
    assert platform.statuses(job) == ["Starting", "Downloading", "Failed"]


def test_pipes_unpack_and_wrap_records(platform: Platform) -> None:
    platform.folder_objects.put("in/a", gzip.compress(b"packed"))
    platform.folder_objects.put("rec/a", b"12345")
    code = "print(open('/opt/ml/input/data/z_0').read(), open('/opt/ml/input/data/r_0', 'rb').read().hex())"
    job = platform.train(
        "j",
        code,
        InputDataConfig=[
            channel("z", "s3://bucket/in/", InputMode="Pipe", CompressionType="Gzip"),
            channel("r", "s3://bucket/rec/", InputMode="Pipe", RecordWrapperType="RecordIO"),
        ],
    )
    assert platform.ended(job)["TrainingJobStatus"] == "Completed"
    record = struct.pack("<II", 0xCED7230A, 5) + b"12345\0\0\0"
    assert platform.log(job) == f"packed {record.hex()}\n"


def test_links_do_not_lead_out_of_the_job(platform: Platform) -> None:
    (platform.data / "secret").write_text("secret")
    code = (
        f"import os; secret = {str(platform.data / 'secret')!r}\n"
        "os.symlink(secret, '/opt/ml/output/failure'); os.symlink(secret, '/opt/ml/output/data/s')\n"
        f"os.rmdir('/opt/ml/model'); os.symlink({str(platform.data)!r}, '/opt/ml/model'); raise SystemExit(1)"
    )
    plain = {"S3OutputPath": "s3://bucket/out", "CompressionType": "NONE"}
    described = platform.ended(platform.train("j", code, OutputDataConfig=plain))
    assert described["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert platform.folder_objects.keys() == []


def test_equal_folders_give_equal_archives(platform: Platform) -> None:
    code = "import os; open('/opt/ml/model/m', 'w').write('1'); os.utime('/opt/ml/model/m', (1, 1))"
    for name in ("one", "two"):
        platform.ended(platform.train(name, code))
    one, two = (platform.folder_objects.get(f"out/{name}/output/model.tar.gz") for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(("refusals", "status"), [(2, "Completed"), (3, "Failed")])
def test_uploads_are_tried_again_and_then_fail_the_job(platform: Platform, refusals: int, status: str) -> None:
    platform.folder_objects.refusals = refusals
    described = platform.ended(platform.train("j", "open('/opt/ml/model/m', 'w').close()"))
    assert described["TrainingJobStatus"] == status
    if status == "Failed":
        assert described["FailureReason"].startswith("ClientError: Artifact upload failed:InternalError")


def test_the_containers_variables(platform: Platform) -> None:
    code = "import os; print(*(f'{k}={v}' for k, v in os.environ.items() if '_' in k), sep='\\n')"
    job = platform.train("j", code, Environment={"MY_OWN": "1", "TRAINING_JOB_NAME": "not-this"})
    platform.ended(job)
    seen = dict(line.split("=", 1) for line in platform.log(job).splitlines())
    assert seen.pop("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").startswith("/v2/credentials/")
    assert {name: seen[name] for name in seen if name not in ("LC_CTYPE", "LD_LIBRARY_PATH")} == {
        "AWS_ENDPOINT_URL": platform.endpoint,
        "AWS_REGION": "us-east-1",
        "MY_OWN": "1",
        "TRAINING_JOB_NAME": "j",
        "TRAINING_JOB_ARN": job.arn,
    }


def test_a_command_that_is_not_there_says_so_in_the_log(platform: Platform) -> None:
    request = platform.training("")["AlgorithmSpecification"] | {"ContainerEntrypoint": ["nosuch"]}
    job = platform.train("j", "", AlgorithmSpecification=request)
    assert platform.ended(job)["FailureReason"] == "AlgorithmError: , exit code: 127"
    assert '"nosuch" cannot be started: not found' in platform.log(job)
