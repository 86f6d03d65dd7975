"""The service's own words for the phases of a job (StatusMessage of SecondaryStatusTransitions)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.model import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRAINING = {
    "Starting": "Starting the training job",
    "Preparing": "Preparing the instances for training",
    "Waiting": "Insufficient capacity error from EC2 while launching instances, retrying!",
    "Downloading": "Downloading input data",
    "Image": "Downloading the training image",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Training job interrupted: the managed spot training instances were interrupted",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job exceeded MaxWaitTimeInSeconds provided",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
}
MESSAGES: Mapping[JobKind, Mapping[str, str]] = {
    JobKind.TRAINING: _TRAINING,
    # A processing job has no transitions to show them in; the store drops them.
    JobKind.PROCESSING: _TRAINING,
}


def cannot_pull(kind: JobKind, detail: str) -> str:
    """Return the FailureReason of a job whose image is not to be had: the service's words, and what is known here."""
    container = "algorithm" if kind is JobKind.TRAINING else "processing"
    words = f"Cannot pull {container} container. Either the image does not exist or its permissions are incorrect."
    return f"ClientError: {words} ({detail})"
