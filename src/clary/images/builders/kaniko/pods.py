"""What became of a build's pod, judged from what the cluster says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from clary.errors import AwsError, ClaryError, ConfigError, Retry

Document = Mapping[str, Any]
"""An object of the cluster, as JSON has it."""
_NO_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImageNotFound")
"""Why a container waits when its image will not come. Source: the kubelet's package ``images``.

ErrImagePull alone may be a passing fault: the kubelet tries again, and then says ImagePullBackOff."""
_NO_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_DEADLINE = "DeadlineExceeded"


class Phase(StrEnum):
    """Where a pod is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Seen:
    """What a pod's status says."""

    phase: Phase
    reason: str = ""
    """The cluster's word for it, such as ``OOMKilled``."""
    message: str = ""
    """The cluster's sentence; of a pod that succeeded, what the executor left: the digest."""


def seen(pod: Document) -> Seen:
    """Return what a pod's status says."""
    status = pod.get("status") or {}
    phase = status.get("phase")
    ended = _container_state(status, "terminated")
    if phase == "Succeeded" or (ended and ended.get("exitCode") == 0):
        return Seen(Phase.SUCCEEDED, message=str((ended or {}).get("message") or ""))
    if phase == "Failed" or ended:
        own = ended or {}
        reason = status.get("reason") or own.get("reason") or "Error"
        return Seen(Phase.FAILED, str(reason), str(status.get("message") or own.get("message") or ""))
    waiting = _container_state(status, "waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if reason in (*_NO_IMAGE, *_NO_CONTAINER):
        return Seen(Phase.FAILED, reason, message)
    if _container_state(status, "running") is not None:
        return Seen(Phase.RUNNING)
    return Seen(Phase.WAITING, *(_unscheduled(status) or (reason, message)))


def ended(job: Document) -> tuple[bool, str, str] | None:
    """Return whether a Job succeeded, the reason and the message of its end; None: it has not ended."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
            return condition["type"] == "Complete", reason, message
    return None


def failure(found: Seen, *, waited: str, said: str, timeout: int) -> ClaryError:
    """Return the error of a build that failed.

    Args:
        found: what the pod's status says, or the Job's condition.
        waited: what the pod last waited for; empty where it ran.
        said: the last lines of the build's output.
        timeout: seconds that the build was given.
    """
    details = {"reason": found.reason, "output": said}
    if found.reason in _NO_IMAGE:
        return ConfigError(
            "image.executor_unavailable",
            f"The cluster cannot pull Kaniko's image: {found.message or found.reason}",
            next_step="Name an image that the cluster can pull: executor_image of the image builder, with "
            "image_pull_secret where its registry asks for a sign-in.",
            field="image_builder.executor_image",
            details=details,
        )
    if found.reason == _DEADLINE:
        return _timed_out(waited, timeout, details)
    if found.reason == "OOMKilled":
        return ConfigError(
            "image.build_out_of_memory",
            f"The build used more memory than it was given, and the cluster ended it.{_shown(said)}",
            next_step="Give it more: resources={memory: 8Gi} of the image builder.",
            field="image_builder.resources",
            details=details,
        )
    if found.reason in ("Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown"):
        return AwsError(
            "image.build_evicted",
            f"The cluster took the build's pod away ({found.reason}): {found.message or 'it does not say why'}",
            next_step="Build again; if the node ran out of disk, ask for more: resources={ephemeral-storage: 20Gi} of "
            "the image builder.",
            retry=Retry.YES,
            details=details,
        )
    if found.reason in _NO_CONTAINER:
        return ConfigError(
            "image.build_not_started",
            f"The cluster cannot start the build: {found.message or found.reason}",
            next_step="Check secret_name, secret_key and service_account_name of the image builder.",
            field="image_builder",
            details=details,
        )
    return ConfigError(
        "image.build_failed",
        f"The image could not be built.{_shown(said or found.message)}",
        next_step="Mend what the last lines say; the whole output is in the error's details (-o json).",
        field="image",
        details=details,
    )


def gone(name: str) -> ClaryError:
    """Return the error for a Job or a pod that somebody took away."""
    return AwsError(
        "image.build_vanished",
        f"The Job {name} or its pod was deleted before it told how the build ended.",
        next_step="Build again; if nobody deleted it, see whether a quota or a clean-up of the namespace did.",
        retry=Retry.YES,
        details={"job": name},
    )


def _timed_out(waited: str, timeout: int, details: dict[str, Any]) -> ClaryError:
    if waited:
        return ConfigError(
            "image.build_unscheduled",
            f"The build did not start within {timeout} seconds: {waited}",
            next_step="See that nodes fit node_selector, tolerations and resources of the image builder, and that the "
            "namespace's quota lets a pod be made.",
            field="image_builder",
            retry=Retry.LATER,
            details=details,
        )
    return ConfigError(
        "image.build_timed_out",
        f"The build did not end within {timeout} seconds.{_shown(str(details['output']))}",
        next_step="Give it longer: build_timeout of the image builder, in seconds.",
        field="image_builder.build_timeout",
        details=details,
    )


def _shown(said: str) -> str:
    return "\n" + "\n".join(said.splitlines()[-15:]) if said else ""


def _container_state(status: Document, name: str) -> Document | None:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if name in state:
            found: Document = state[name] or {}
            return found
    return None


def _unscheduled(status: Document) -> tuple[str, str] | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
    return None
