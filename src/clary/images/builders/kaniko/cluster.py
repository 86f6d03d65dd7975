"""The few calls of the Kubernetes API that a build makes, in one namespace. Passing faults are tried again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, Retry
from clary.images.builders.kaniko.refusals import Refusal

if TYPE_CHECKING:
    from clary.images.builders.kaniko.pods import Document

_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before a call is tried again."""
_ANSWER = (5, 30)
"""Seconds to connect, and to wait for each piece of an answer."""
_STREAM = (5, 75)
"""The same for streams, which may have nothing to tell for a while."""


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster."""

    batch: Any
    """The client's API of Jobs."""
    core: Any
    """The client's API of pods and Secrets."""
    namespace: str
    pause: Callable[[float], None] = time.sleep

    def create_job(self, manifest: Document) -> Document | None:
        """Make a Job and return it; None: there is one of this name."""
        create = self.batch.create_namespaced_job
        return self._ask("create", "jobs", lambda: create(self.namespace, manifest, **_raw()), but=409)

    def job(self, name: str) -> Document | None:
        """Return a Job, or None when there is none."""
        read = self.batch.read_namespaced_job
        return self._ask("get", "jobs", lambda: read(name, self.namespace, **_raw()), but=404)

    def delete_job(self, name: str) -> None:
        """Delete a Job, its pods first; nothing happens where there is none."""
        delete = self.batch.delete_namespaced_job
        how = {"propagation_policy": "Foreground", **_raw()}
        self._ask("delete", "jobs", lambda: delete(name, self.namespace, **how), but=404)

    def create_secret(self, manifest: Document) -> None:
        """Make a Secret; one of this name belongs to this build's Job, for it has the Job's name."""
        create = self.core.create_namespaced_secret
        self._ask("create", "secrets", lambda: create(self.namespace, manifest, **_raw()), but=409)

    def delete_secret(self, name: str) -> None:
        """Delete a Secret; nothing happens where there is none."""
        delete = self.core.delete_namespaced_secret
        self._ask("delete", "secrets", lambda: delete(name, self.namespace, **_raw()), but=404)

    def pods(self, job: str) -> tuple[list[Document], str]:
        """Return the pods of a Job, and the version of the list, from which they can be watched."""
        ask = self.core.list_namespaced_pod
        which = {"label_selector": f"job-name={job}", **_raw()}
        listed = self._ask("list", "pods", lambda: ask(self.namespace, **which)) or {}
        return list(listed.get("items") or ()), str((listed.get("metadata") or {}).get("resourceVersion") or "")

    def wait_for_change(self, job: str, version: str, seconds: int) -> None:
        """Return when a pod of the Job has changed since ``version``, after so many seconds, or when the watch breaks.

        Whoever calls lists the pods again, so that a watch that broke, or is too old, costs nothing but a look.
        """
        which = {"label_selector": f"job-name={job}", "watch": True, "timeout_seconds": seconds}
        ask = self.core.list_namespaced_pod
        stream = self._stream(
            "watch", "pods", lambda: ask(self.namespace, resource_version=version, **which, **_raw(_STREAM))
        )
        for _ in stream:
            return

    def log(self, pod: str, container: str) -> Iterator[str]:
        """Yield the lines of a container's log from its beginning, each after its time, until it ends or breaks off."""
        read = self.core.read_namespaced_pod_log
        which = {"container": container, "follow": True, "timestamps": True, **_raw(_STREAM)}
        yield from self._stream("get", "pods/log", lambda: read(pod, self.namespace, **which))

    def _ask(self, verb: str, resource: str, request: Callable[[], Any], *, but: int = 0) -> Document | None:
        """Carry a request out and return the answer; None for the status ``but``."""
        for pause in (*_PAUSES, None):
            try:
                found: Document = json.loads(_answered(request).data or b"{}")
            except Refusal as refusal:
                if refusal.status == but:
                    return None
                if not refusal.passing or pause is None:
                    raise refusal.told(verb, resource, self.namespace) from None
                self.pause(max(pause, refusal.wait or 0))
            except _broken() as error:
                if pause is None:
                    raise _unreachable(error) from error
                self.pause(pause)
            else:
                return found
        raise AssertionError("the last try returns or raises")

    def _stream(self, verb: str, resource: str, request: Callable[[], Any]) -> Iterator[str]:
        try:
            response = _answered(request)
        except Refusal as refusal:
            if refusal.status in (401, 403):
                raise refusal.told(verb, resource, self.namespace) from None
            self.pause(max(_PAUSES[1], refusal.wait or 0))
            return
        except _broken():
            self.pause(_PAUSES[1])
            return
        try:
            with suppress(*_broken()):
                yield from _lines(response)
        finally:
            response.close()


def _raw(timeout: tuple[int, int] = _ANSWER) -> dict[str, Any]:
    return {"_preload_content": False, "_request_timeout": timeout}


def _answered(request: Callable[[], Any]) -> Any:
    """Return the response of a success; raises Refusal. Versions of the client differ in who looks at the status."""
    from kubernetes.client.exceptions import ApiException

    try:
        response = request()
    except ApiException as error:
        if not error.status:  # no answer came at all
            raise OSError(str(error.reason)) from error
        body: Any = error.body  # text or bytes, by the client's version
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        raise Refusal(error.status, text, dict(error.headers or {})) from error
    if not 200 <= response.status <= 299:
        raise Refusal(response.status, response.data.decode("utf-8", "replace"), dict(response.headers))
    return response


def _lines(response: Any) -> Iterator[str]:
    held = b""
    for piece in response.stream(amt=None):
        *whole, held = (held + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if held:
        yield held.decode("utf-8", "replace")


def _broken() -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError)


def _unreachable(error: Exception) -> AwsError:
    return AwsError(
        "image.cluster_unreachable",
        f"The cluster cannot be reached: {' '.join(str(error).split())[:300]}",
        next_step="Check the network, and that the kubeconfig's context is of a cluster that runs.",
        retry=Retry.LATER,
    )
