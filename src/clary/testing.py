"""A local SageMaker for tests: a real sandbox that runs real containers, on a free port, in a folder of its own.

    from clary.testing import sandbox

    with sandbox() as local:
        sagemaker = local.client("sagemaker")
        local.faults.throttle("CreateTrainingJob", times=3)
        local.clock.speed(60)

With pytest, import the fixture ``clary_sandbox`` into a ``conftest.py``: one sandbox for the whole session.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clary.errors import SandboxError
from clary.sandbox import api
from clary.sandbox.identity import lives

__all__ = ["Clock", "Faults", "Quotas", "Rates", "Sandbox", "sandbox"]


class Faults:
    """What the sandbox is told to do wrong.

    ``match`` is a shell pattern for a job's name, an object's key or a repository.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def _add(self, kind: str, **options: Any) -> dict[str, Any]:
        return api.add_fault(kind, data=self._data, **options)

    def throttle(self, operation: str, *, times: int = 1, match: str = "*") -> None:
        """Refuse the next calls of an operation (``CreateTrainingJob``, ``PutObject``…) with its throttling error."""
        self._add("throttle", operation=operation, times=times, match=match)

    def server_error(self, operation: str, *, status: int = 500, times: int = 1, match: str = "*") -> None:
        """Answer the next calls of an operation with 500 or 503; nothing is done."""
        self._add("server_error", operation=operation, status=status, times=times, match=match)

    def lost_reply(self, operation: str, *, times: int = 1, match: str = "*") -> None:
        """Do the next calls of an operation, but drop the connection before the answer."""
        self._add("lost_reply", operation=operation, times=times, match=match)

    def conflict(self, *, match: str = "*", times: int = 1) -> None:
        """Answer the next conditional S3 writes with 409 ConditionalRequestConflict; nothing is stored."""
        self._add("conflict", match=match, times=times)

    def expire_credentials(
        self, *, operation: str = "*", match: str = "*", times: int = 1, status: int | None = None
    ) -> None:
        """Answer the next calls with the expired-token error.

        The registry answers with 403, as ECR does; ``status`` 401 lets it ask for a new token as other registries do.
        """
        more = {} if status is None else {"status": status}
        self._add("expire_credentials", operation=operation, match=match, times=times, **more)

    def short_credentials(self, seconds: int, *, job: str = "*", times: int = 1) -> None:
        """Let the next keys that a job's container asks for live that many real seconds only."""
        self._add("short_credentials", match=job, seconds=seconds, times=times)

    def exhaust_quota(self, *, job: str = "*", times: int = 1) -> None:
        """Refuse the next jobs with ResourceLimitExceeded."""
        self._add("quota", match=job, times=times)

    def refuse_capacity(self, *, job: str = "*", times: int = 1, instance_type: str = "*") -> None:
        """Have no machines of a type for the next jobs: they fail with CapacityError, or take the next they list."""
        self._add("capacity", match=job, times=times, instance_type=instance_type)

    def wait_for_capacity(self, seconds: float, *, job: str = "*", times: int = 1) -> None:
        """Let the next jobs wait that many sandbox seconds for machines."""
        self._add("insufficient_capacity", match=job, seconds=seconds, times=times)

    def interrupt_spot(self, *, job: str = "*", after: float = 0.0, times: int = 1) -> None:
        """Interrupt the next spot jobs that many sandbox seconds after their container started."""
        self._add("spot_interruption", match=job, seconds=after, times=times)

    def internal_error(self, *, job: str = "*", times: int = 1) -> None:
        """Let the next jobs fail with InternalServerError once."""
        self._add("internal_error", match=job, times=times)

    def duplicate_events(self, *, job: str = "*", times: int = 1) -> None:
        """Deliver the next state change events twice."""
        self._add("duplicate_events", match=job, times=times)

    def delay_events(self, seconds: float, *, job: str = "*", times: int = 1) -> None:
        """Deliver the next state change events that many real seconds later."""
        self._add("delay_events", match=job, seconds=seconds, times=times)

    def short_token(self, seconds: float, *, times: int = 1) -> None:
        """Let the registry's next tokens live that many real seconds only."""
        self._add("short_token", seconds=seconds, times=times)

    def mount(self, status: int, *, repository: str = "*", times: int = 1) -> None:
        """Answer the next blob mounts with 202 (upload it), 401, 403 or 404; 201 mounts whatever the source holds."""
        self._add("mount", status=status, match=repository, times=times)

    def refuse_oci(self, *, repository: str = "*", times: int = 1) -> None:
        """Refuse the next manifests of OCI's types."""
        self._add("refuse_oci", match=repository, times=times)

    def break_upload(
        self, *, after: int | None = None, operation: str = "*", repository: str = "*", times: int = 1
    ) -> None:
        """Break the connection of the next layer uploads after so many bytes, or half of them.

        ``operation`` is ``InitiateLayerUpload`` (POST), ``UploadLayerPart`` (PATCH) or ``CompleteLayerUpload`` (PUT).
        """
        more = {} if after is None else {"bytes": after}
        self._add("broken_upload", operation=operation, match=repository, times=times, **more)

    def break_download(self, *, after: int | None = None, digest: str = "*", times: int = 1) -> None:
        """Break the connection of the next layer downloads after so many bytes, or half of them."""
        more = {} if after is None else {"bytes": after}
        self._add("broken_download", match=digest, times=times, **more)

    def relative_location(self, *, repository: str = "*", times: int = 1) -> None:
        """Answer the next uploads with an address that is a path alone, as other registries do."""
        self._add("relative_location", match=repository, times=times)

    def planned(self) -> list[dict[str, Any]]:
        """Return every fault with how often it happened (``taken``) and how often it still will (``left``)."""
        return api.list_faults(self._data)

    def clear(self) -> None:
        """Forget every fault."""
        api.clear_faults(self._data)


class Clock:
    """The sandbox's clock."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def speed(self, factor: float) -> None:
        """Let sandbox time pass ``factor`` times as fast as real time from now on."""
        api.set_clock_speed(factor, data=self._data)

    def advance(self, seconds: float) -> None:
        """Let that many seconds of sandbox time pass at once; what is due meanwhile happens after the jump."""
        api.advance_clock(seconds, data=self._data)

    def now(self) -> float:
        """Return the sandbox's time in epoch seconds."""
        return float(api.status(self._data)["clock"]["now"])


class Quotas:
    """The service quotas of the sandbox's account."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def set(self, name: str, value: float) -> None:
        """Give a quota another value, e.g. ``ml.g5.xlarge for training job usage``."""
        api.set_quota(name, value, data=self._data)


class Rates:
    """The API rates of the sandbox's account."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def set(self, operation: str, per_second: float, burst: int) -> None:
        """Give an operation another rate."""
        api.set_rate(operation, per_second, burst, data=self._data)

    def enforce(self, *, enforced: bool) -> None:
        """Switch all rates on or off."""
        api.enforce_rates(enforced=enforced, data=self._data)


class Sandbox:
    """A running sandbox and the handles to steer it."""

    def __init__(self, data: Path, state: Mapping[str, Any]) -> None:
        self.data = data
        self.endpoint: str = state["endpoint"]
        self.environment: dict[str, str] = dict(state["environment"])
        self.account: str = state["account"]
        self.region: str = state["region"]
        self.bucket: str = state["bucket"]
        self.role: str = state["role"]
        self.scheduler_role: str = state["scheduler_role"]
        self.faults = Faults(data)
        self.clock = Clock(data)
        self.quotas = Quotas(data)
        self.rates = Rates(data)

    @property
    def image(self) -> str:
        """The sandbox's own image: this interpreter and nothing of the project."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com/clary-sandbox/python:{version}"

    def client(self, service: str, *, region: str | None = None, **options: Any) -> Any:
        """Return a boto3 client of the sandbox; ``options`` are those of ``boto3.client``."""
        import boto3

        session = boto3.session.Session(
            aws_access_key_id=options.pop("aws_access_key_id", self.environment["AWS_ACCESS_KEY_ID"]),
            aws_secret_access_key=options.pop("aws_secret_access_key", self.environment["AWS_SECRET_ACCESS_KEY"]),
            aws_session_token=options.pop("aws_session_token", None),
            region_name=region or self.region,
        )
        return session.client(service, endpoint_url=self.endpoint, **options)

    def status(self) -> dict[str, Any]:
        """Return what ``clary sandbox status`` shows."""
        return api.status(self.data)

    def kill(self) -> None:
        """End the sandbox's process with SIGKILL, as a crash would; ``restart`` brings it back with all its data."""
        state = api.running(self.data)
        if state is None:
            return
        os.kill(state["pid"], signal.SIGKILL)
        while lives(state["pid"], state["start_mark"]):
            time.sleep(0.01)

    def restart(self) -> None:
        """Start it again, after ``kill`` or in an orderly way, on the same port."""
        if api.running(self.data) is not None:
            api.stop(self.data)
        state = api.start(port=int(self.endpoint.rpartition(":")[2]), data=self.data)
        self.endpoint = state["endpoint"]


@contextmanager
def sandbox(
    *,
    data: Path | None = None,
    requirements: Sequence[str] = (),
    clock_speed: float = 1.0,
    enforce_rates: bool = True,
    iam: str = "off",
) -> Iterator[Sandbox]:
    """Start a sandbox on a free port and stop it at the end.

    ``data`` keeps what it holds; without, a temporary folder is used and removed. ``requirements`` (PEP 508) are
    installed into its image. ``iam="enforce"`` lets IAM policies decide over every request: ``client`` is then the
    account's administrator, and other access keys must be made. Raises SandboxError as ``clary sandbox start`` does.
    """
    with tempfile.TemporaryDirectory(prefix="clary-sandbox-", ignore_cleanup_errors=True) as temporary:
        folder = data or Path(temporary)
        state = api.start(port=0, data=folder, requirements=requirements, clock_speed=clock_speed, iam=iam)
        running = Sandbox(folder, state)
        try:
            if not enforce_rates:
                running.rates.enforce(enforced=False)
            yield running
        finally:
            try:
                api.stop(folder)
            except SandboxError as error:
                if error.code != "sandbox.not_running":  # a test may have killed it
                    raise


if "pytest" in sys.modules:  # only then can it be used, and nobody else pays for the import
    import pytest

    @pytest.fixture(scope="session")
    def clary_sandbox() -> Iterator[Sandbox]:
        """One sandbox for the whole test session, without API rates."""
        with sandbox(enforce_rates=False) as running:
            yield running

    __all__ += ["clary_sandbox"]
