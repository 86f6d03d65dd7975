"""What the life of a job finds around it: S3, logs, credentials, the clock and planned faults (``model.Services``)."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

from clary.sagemaker.logs import PROCESSING_GROUP, TRAINING_GROUP
from clary.sandbox.iam import SESSION_NAME
from clary.sandbox.joblogs import StreamSink
from clary.sandbox.model import Clock, Job, JobKind, LogSink, ObjectAccess
from clary.sandbox.operations.context import Caller
from clary.sandbox.registry.names import Named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clary.sandbox.faults import Faults
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.iam.guard import Guard
    from clary.sandbox.registry.registry import Registry

_log = logging.getLogger(__name__)
CREDENTIALS_SECONDS = 3600
"""How long a job's credentials are good, in real time, since the SDK in the container lives in real time."""

LOG_GROUPS = {JobKind.TRAINING: TRAINING_GROUP, JobKind.PROCESSING: PROCESSING_GROUP}


class SandboxServices:
    """The services of a running sandbox."""

    def __init__(
        self,
        *,
        clock: Clock,
        data: Path,
        endpoint: str,
        gateway: Gateway,
        faults: Faults,
        registry: Registry,
        guard: Guard | None = None,
    ) -> None:
        self.clock = clock
        self.data = data
        self.endpoint = endpoint
        self._gateway = gateway
        self._faults = faults
        self._guard = guard
        self.registry = registry

    def objects(self, job: Job) -> ObjectAccess:
        """Return S3 with the rights of the job's role."""
        objects = PlatformObjects(self._gateway, self._faults)
        if self._guard is None:
            return objects
        from clary.sandbox.iam.platform import RoleObjects, output_key, rights_of

        return RoleObjects(objects, rights_of(self._guard, job), output_key(job))

    def log_sink(self, job: Job, stream: str) -> LogSink:
        """Return the sink of one stream of the job's log group; output is lost where the role may not write logs."""
        group = LOG_GROUPS[job.kind]
        if self._guard is not None:
            from clary.sandbox.iam.platform import rights_of

            exists = self._gateway.logs.has_group(job.account, job.region, group)
            lack = rights_of(self._guard, job).cannot_log(group, stream, exists=exists)
            if lack is not None:
                _log.warning("%s has no logs: %s", job.arn, lack)
                return NoSink()
        return StreamSink(self._gateway.logs, self.clock, job.account, job.region, group, stream)

    def cannot_pull(self, job: Job) -> str | None:
        """Return why the job's role may not pull its image, or None."""
        named = Named.read(image_of(job.request))
        if named is None:
            return None  # other registries ask for no rights of the role
        if self._guard is not None:
            from clary.sandbox.iam.platform import rights_of

            lack = rights_of(self._guard, job).cannot_sign_in()
            if lack is not None:
                return lack
        return self.registry.rights.cannot_pull(str(job.request["RoleArn"]), job.account, named.place)

    def role_credentials(self, job: Job) -> Mapping[str, str]:
        """Return fresh credentials of the job's role, known to the sandbox until they expire."""
        from moto.sts.models import sts_backends

        role_arn = str(job.request["RoleArn"])
        partition = Caller(job.account, job.region).partition
        short = self.fault("short_credentials", job) or {}
        assumed = sts_backends[job.account][partition].assume_role(
            region_name=job.region,
            role_session_name=SESSION_NAME,
            role_arn=role_arn,
            policy="",
            duration=int(short.get("seconds", CREDENTIALS_SECONDS)),
            external_id="",
        )
        self._gateway.sessions.add(assumed)
        return {
            "AccessKeyId": assumed.access_key_id,
            "SecretAccessKey": assumed.secret_access_key,
            "Token": assumed.session_token,
            "Expiration": f"{assumed.expiration:%Y-%m-%dT%H:%M:%SZ}",
            "RoleArn": role_arn,
        }

    def fault(self, name: str, job: Job, instance_type: str = "") -> Mapping[str, Any] | None:
        """Take one planned fault meant for this job and instance type, if there is one."""
        operation = f"Create{job.kind.value.capitalize()}Job"
        return self._faults.take(name, operation=operation, name=job.name, instance_type=instance_type)


def image_of(request: Mapping[str, Any]) -> str:
    """Return the image of a job."""
    specification = request.get("AlgorithmSpecification", {}), request.get("AppSpecification", {})
    return str(specification[0].get("TrainingImage") or specification[1].get("ImageUri") or "")


class NoSink:
    """The sink of a job that may not write logs."""

    def write(self, data: bytes) -> None:
        """Lose the output."""

    def close(self) -> None:
        """There is nothing left to write."""


class PlatformObjects:
    """S3 as the platform uses it: straight on the stored files.

    Planned ``server_error`` faults reach the platform's own uploads under the operation name ``PlatformUpload``.
    """

    def __init__(self, gateway: Gateway, faults: Faults) -> None:
        self._objects = gateway.objects
        self._gateway = gateway
        self._faults = faults

    def list(self, bucket: str, prefix: str) -> Sequence[tuple[str, int]]:
        """Return (key, size in bytes) of every object under the prefix; raises FileNotFoundError for no bucket."""
        holder = self._objects.bucket(bucket)
        if holder is None:
            raise FileNotFoundError(f"NoSuchBucket: The specified bucket does not exist: {bucket}")
        names = sorted(key for key in list(holder.keys) if key.startswith(prefix))
        found = [(name, self._objects.current(bucket, name)) for name in names]
        return [(name, int(current.size)) for name, current in found if current is not None]

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a new file; raises FileNotFoundError when there is none."""
        with self._objects.locked(bucket, [key]):
            file = self._stored(bucket, key).open()
        with file, to.open("xb") as target:
            shutil.copyfileobj(file, target, 1 << 20)

    def read(self, bucket: str, key: str) -> bytes:
        """Return a small object."""
        with self._objects.locked(bucket, [key]):
            file = self._stored(bucket, key).open()
        with file:
            return bytes(file.read())

    def _stored(self, bucket: str, key: str) -> Any:
        current = self._objects.current(bucket, key)
        if current is None:
            raise FileNotFoundError(f"NoSuchKey: The specified key does not exist: s3://{bucket}/{key}")
        return current._value_buffer

    def upload(self, source: Path, bucket: str, key: str) -> None:
        """Store a file; raises OSError with the service's words when it is refused."""
        fault = self._faults.take("server_error", operation="PlatformUpload", name=key)
        if fault is not None:
            raise OSError(f"InternalError: We encountered an internal error. Please try again. (s3://{bucket}/{key})")
        self._objects.adopt(source, bucket, key)
        self._gateway.queues.capture()
