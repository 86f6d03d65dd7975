"""What the cluster's API refused, in Clary's errors. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError, Retry, ThrottledError

_LONGEST_PAUSE = 30.0


class Refusal(Exception):  # noqa: N818 - an answer, which the caller may expect
    """An answer of the API that is not a success."""

    def __init__(self, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.said = _said(body) or f"status {status}"
        """What the API says of it."""
        self.wait = _wait(headers or {})
        """Seconds that it asks to wait; None: it does not ask."""

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed soon."""
        return self.status == 429 or self.status >= 500

    def told(self, verb: str, resource: str, namespace: str) -> ClaryError:
        """Return the error to show for what was asked: ``create``, ``jobs``, and where."""
        what, details = f"{verb} {resource} in the namespace {namespace}", {"status": self.status}
        if self.status == 401:
            return PermissionDeniedError(
                "image.cluster_unauthorized",
                f"The cluster does not accept the credentials: {self.said}",
                next_step="Sign in anew (for EKS: `aws eks update-kubeconfig --name CLUSTER`), then build again.",
                details=details,
            )
        if self.status == 403:
            return PermissionDeniedError(
                "image.cluster_denied",
                f"The cluster does not let this user {what}: {self.said}",
                next_step="Let an administrator bind the role that docs/how-to/images.md shows.",
                details=details,
            )
        if self.status == 429:
            return ThrottledError(
                "image.cluster_throttled", f"The cluster asks for less: {self.said}", next_step="Build again shortly."
            )
        if self.status >= 500:
            return AwsError(
                "image.cluster_unavailable",
                f"The cluster could not {what}: {self.said}",
                next_step="Build again shortly; see whether the cluster's control plane is well.",
                retry=Retry.LATER,
                details=details,
            )
        if self.status == 404:
            return ConfigError(
                "image.no_namespace",
                f"The cluster has no namespace {namespace}, or no Jobs of batch/v1: {self.said}",
                next_step="Make the namespace, or name another: kubernetes_namespace of the image builder.",
                field="image_builder.kubernetes_namespace",
                details=details,
            )
        return ConfigError(
            "image.cluster_refused",
            f"The cluster refused to {what}: {self.said}",
            next_step="Mend the options of the image builder that it names; policies of the cluster may forbid some.",
            field="image_builder",
            details=details,
        )


def _said(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body.split())[:300]


def _wait(headers: Mapping[str, str]) -> float | None:
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return min(float(value), _LONGEST_PAUSE)
    return None
