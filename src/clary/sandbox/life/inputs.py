"""Bringing data to the hosts before the containers start: channels, processing inputs, checkpoints."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.life.failures import JobFailed
from clary.sandbox.life.s3 import Source, share, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from clary.sandbox.model import Job, ObjectAccess

DATA = "input/data"
CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Channel:
    """One training channel."""

    name: str
    mode: str
    """File, FastFile or Pipe."""
    source: Mapping[str, Any]
    compression: str | None
    record_wrapper: str | None
    content_type: str | None

    @property
    def distribution(self) -> str:
        """FullyReplicated or ShardedByS3Key."""
        return str(self.source.get("S3DataDistributionType", "FullyReplicated"))


def channels(job: Job) -> list[Channel]:
    """Return the job's channels; raises JobFailed for data sources that are not S3."""
    usual = job.request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    found = []
    for one in job.request.get("InputDataConfig", ()):
        source = one["DataSource"].get("S3DataSource")
        if source is None:
            raise JobFailed(
                f"ClientError: The sandbox reads channels from S3 only, and {one['ChannelName']} is not there"
            )
        none = {"None": None}
        found.append(
            Channel(
                name=one["ChannelName"],
                mode=one.get("InputMode", usual),
                source=source,
                compression=none.get(one.get("CompressionType", "None"), one.get("CompressionType")),
                record_wrapper=none.get(one.get("RecordWrapperType", "None"), one.get("RecordWrapperType")),
                content_type=one.get("ContentType"),
            )
        )
    return found


class Downloads:
    """Downloads of one job; ``check`` is called between objects and raises to give up."""

    def __init__(self, job: Job, objects: ObjectAccess, check: Callable[[], None]) -> None:
        self._job = job
        self._objects = objects
        self._check = check

    def listed(self, source: Mapping[str, Any]) -> list[Source]:
        """Return the objects of an S3 data source."""
        return sources(self._objects, source, self._job.request["RoleArn"], self._job.region)

    def fill(self, folders: Sequence[Path], source: Mapping[str, Any], distribution: str | None) -> None:
        """Bring a data source to every host; ``folders`` has each host's folder in the order of the hosts."""
        found = self.listed(source)
        for number, folder in enumerate(folders):
            folder.mkdir(parents=True, exist_ok=True)
            for one in share(found, distribution, number, len(folders)):
                self._fetch(one, folder)

    def restore(self, folders: Sequence[Path], uri: str) -> None:
        """Bring what a checkpoint prefix holds to every host; nothing there is nothing to bring."""
        source = {"S3Uri": uri.rstrip("/") + "/"}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            found = self.listed(source)
        except JobFailed as error:
            if "No S3 objects found" in str(error):
                return
            raise
        for folder in folders:
            for one in found:
                self._fetch(one, folder)

    def _fetch(self, one: Source, folder: Path) -> None:
        self._check()
        target = folder / one.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._objects.download(one.bucket, one.key, target)
        except OSError as error:
            raise JobFailed(f"ClientError: Data download failed:s3://{one.bucket}/{one.key}: {error}") from error


def below_opt_ml(path: str, field: str, start: str = "/opt/ml") -> str:
    """Return a LocalPath relative to ``/opt/ml``; raises JobFailed when it is not below ``start``."""
    normal = posixpath.normpath(path)
    if not normal.startswith(f"{start}/"):
        raise JobFailed(f"ClientError: {field} must be below {start} in the sandbox, not {path}")
    return os.path.relpath(normal, "/opt/ml")


def processing_inputs(job: Job) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (path below /opt/ml, S3Input) of every input that the platform brings."""
    for one in job.request.get("ProcessingInputs", ()):
        if one.get("AppManaged"):
            continue
        source = one.get("S3Input")
        if source is None:
            raise JobFailed(f"ClientError: The sandbox reads inputs from S3 only, and {one['InputName']} is not there")
        if source.get("S3InputMode", "File") != "File":
            raise JobFailed(
                f"ClientError: The sandbox runs S3InputMode File only, and {one['InputName']} asks for Pipe"
            )
        yield below_opt_ml(source["LocalPath"], f"LocalPath of {one['InputName']}", "/opt/ml/processing"), source
