"""A small platform for the life of jobs: objects in a folder, logs in memory, the sandbox's own store and clock."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any

from clary.sagemaker.failures import TERMINAL
from clary.sandbox.clock import SandboxClock
from clary.sandbox.life import Life
from clary.sandbox.model import Clock, Executor, Job, JobKind
from clary.sandbox.store import SqliteJobStore
from patience import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ACCOUNT, REGION = "123456789012", "us-east-1"


class FolderObjects:
    """Buckets are folders. Keys that a file system cannot hold are given in ``strange``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.strange: dict[str, bytes] = {}
        self.refusals = 0

    def put(self, key: str, body: bytes, bucket: str = "bucket") -> None:
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def get(self, key: str, bucket: str = "bucket") -> bytes:
        return (self.folder / bucket / key).read_bytes()

    def list(self, bucket: str, prefix: str) -> Sequence[tuple[str, int]]:
        root = self.folder / bucket
        if not root.is_dir():
            raise FileNotFoundError(f"NoSuchBucket: {bucket}")
        found = {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}
        found |= {key: len(body) for key, body in self.strange.items()}
        return sorted((key, size) for key, size in found.items() if key.startswith(prefix))

    def keys(self, prefix: str = "") -> Sequence[str]:
        return [key for key, _ in self.list("bucket", prefix)]

    def read(self, bucket: str, key: str) -> bytes:
        return (self.folder / bucket / key).read_bytes()

    def download(self, bucket: str, key: str, to: Path) -> None:
        with (self.folder / bucket / key).open("rb") as source, to.open("xb") as target:
            shutil.copyfileobj(source, target)

    def upload(self, source: Path, bucket: str, key: str) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise OSError("InternalError: We encountered an internal error.")
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


class Log:
    """One stream; like the sandbox's, a second sink for it skips what the first kept."""

    def __init__(self, streams: dict[str, bytes], name: str) -> None:
        self._streams, self._name = streams, name
        self._skip = len(streams.get(name, b""))

    def write(self, data: bytes) -> None:
        new, self._skip = data[self._skip :], max(0, self._skip - len(data))
        if new:
            self._streams[self._name] = self._streams.get(self._name, b"") + new

    def close(self) -> None:
        return


class Platform:
    """Services, store and life over one folder."""

    def __init__(self, data: Path, executor: Executor, speed: float = 100.0) -> None:
        self.data = data
        self.endpoint = "http://127.0.0.1:4599"
        self.folder_objects = FolderObjects(data / "buckets")
        (data / "buckets/bucket").mkdir(parents=True, exist_ok=True)
        self.streams: dict[str, bytes] = {}
        self.faults: dict[str, list[Mapping[str, Any]]] = {}
        self.store = SqliteJobStore(data / "jobs.db", lambda before: SandboxClock(speed, not_before=before))
        self.clock: Clock = self.store.clock
        self.executor = executor
        self.life = Life(self, self.store, executor)

    def objects(self, job: Job) -> FolderObjects:
        return self.folder_objects

    def cannot_pull(self, job: Job) -> str | None:
        return None

    def log_sink(self, job: Job, stream: str) -> Log:
        return Log(self.streams, stream)

    def role_credentials(self, job: Job) -> Mapping[str, str]:
        return {
            "AccessKeyId": "key",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": "2099-01-01T00:00:00Z",
        }

    def fault(self, name: str, job: Job, instance_type: str = "") -> Mapping[str, Any] | None:
        planned = self.faults.get(name)
        return planned.pop(0) if planned else None

    # -- what the front does

    def train(self, name: str, code: str, **request: Any) -> Job:
        return self._begin(JobKind.TRAINING, name, self.training(code, **request))

    @staticmethod
    def training(code: str, **request: Any) -> dict[str, Any]:
        algorithm = {
            "TrainingImage": "python",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-u", "-c", code],
        }
        return {
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
            "AlgorithmSpecification": algorithm,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 80_000},
            **request,
        }

    def process(self, name: str, code: str, **request: Any) -> Job:
        usual = {
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
            "AppSpecification": {"ImageUri": "python", "ContainerEntrypoint": ["python", "-u", "-c", code]},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
            },
        }
        return self._begin(JobKind.PROCESSING, name, {**usual, **request})

    def _begin(self, kind: JobKind, name: str, request: dict[str, Any]) -> Job:
        job = self.create(kind, name, request)
        self.life.begin(job)
        return job

    def create(self, kind: JobKind, name: str, request: dict[str, Any]) -> Job:
        now = self.clock.now()
        status = f"{kind.value.capitalize()}JobStatus"
        describe: dict[str, Any] = {status: "InProgress", "CreationTime": now, "LastModifiedTime": now}
        if kind is JobKind.TRAINING:
            start = {"Status": "Starting", "StartTime": now, "StatusMessage": "Starting the training job"}
            describe |= {"SecondaryStatus": "Starting", "SecondaryStatusTransitions": [start]}
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.value}-job/{name}"
        return self.store.create(Job(kind, name, arn, ACCOUNT, REGION, request, describe, 1), {})

    def stop(self, job: Job) -> None:
        self.life.stop(self.store.transition(job, "Stopping", "Stopping the training job", status="Stopping"))

    def now(self, job: Job) -> Mapping[str, Any]:
        found = self.store.get(job.kind, job.name, account=job.account, region=job.region)
        assert found is not None
        return found.describe

    def statuses(self, job: Job) -> list[str]:
        return [entry["Status"] for entry in self.now(job).get("SecondaryStatusTransitions", [])]

    def log(self, job: Job) -> str:
        return b"".join(data for name, data in sorted(self.streams.items()) if name.startswith(f"{job.name}/")).decode()

    def ended(self, job: Job) -> Mapping[str, Any]:
        member = f"{job.kind.value.capitalize()}JobStatus"
        until(lambda: self.now(job)[member] in TERMINAL, f"the end of {job.name}")
        # The folder goes after the status.
        until(
            lambda: not any(thread.name == f"life-{job.name}" for thread in threading.enumerate()), "the thread's end"
        )
        return self.now(job)

    def close(self) -> None:
        self.life.close()
        self.store.close()
