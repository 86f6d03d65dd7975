"""A Job watched to its end: what it waits for, what it says, and what it left."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clary.images.builders.kaniko import pods
from clary.images.builders.kaniko.manifests import CONTAINER
from clary.images.builders.kaniko.pods import Document, Phase, Seen
from clary.secrets.redaction import mask

if TYPE_CHECKING:
    from clary.images.builders.kaniko.cluster import Cluster
    from clary.images.building import Progress

_LOOK = 20
"""Seconds after which a pod is looked at again although nothing is told of it."""
_KEPT = 200
"""Lines of the build's output that are kept for an error."""
_SPARE = 60
"""Seconds past the Job's own deadline after which the cluster itself is not waited for."""
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ?(.*)", re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Follower:
    """Follows one Job."""

    cluster: Cluster
    job: Document
    timeout: int
    """Seconds that the build may take."""
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    _waited: str = ""
    """What the pod last waited for; empty since it ran."""
    _last: tuple[str, str] = ("", "")
    """The time of the last line of the log that was told."""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def digest(self) -> str:
        """Wait for the end and return the digest that the executor left.

        Raises the errors of ``pods.failure`` and ``pods.gone``, and what the cluster's calls raise.
        """
        until = self.clock() + self.timeout + _SPARE
        while True:
            listed, version = self.cluster.pods(self._name)
            pod = self._own(listed)
            found = self._without_a_pod() if pod is None else self._looked_at(pod)
            if found.phase is Phase.SUCCEEDED:
                return found.message
            if found.phase is Phase.FAILED:
                raise self._failed(found)
            if self.clock() > until:
                raise self._failed(Seen(Phase.FAILED, "DeadlineExceeded"))
            self.cluster.wait_for_change(self._name, version, _LOOK)

    @property
    def _name(self) -> str:
        return str(self.job["metadata"]["name"])

    def _own(self, listed: list[Document]) -> Document | None:
        """Return the pod of this very Job: one of an earlier Job of the same name may still be ending."""
        for pod in listed:
            owners = pod["metadata"].get("ownerReferences") or ()
            if any(owner.get("uid") == self.job["metadata"]["uid"] for owner in owners):
                return pod
        return None

    def _looked_at(self, pod: Document) -> Seen:
        found = pods.seen(pod)
        if found.phase is Phase.WAITING:
            self._tell(": ".join(text for text in (found.reason, found.message) if text) or "a node")
        elif found.phase is Phase.RUNNING or _has_run(pod):
            self._waited = ""
            self._listen(str(pod["metadata"]["name"]))
        return found

    def _without_a_pod(self) -> Seen:
        """Judge a Job that shows no pod."""
        job = self.cluster.job(self._name)
        if job is None or job["metadata"]["uid"] != self.job["metadata"]["uid"]:
            raise pods.gone(self._name)
        end = pods.ended(job)
        if end is None:
            self._tell("the cluster to make a pod")
            return Seen(Phase.WAITING)
        succeeded, reason, message = end
        if succeeded or reason == "BackoffLimitExceeded":  # the pod, which knew more, was deleted
            raise pods.gone(self._name)
        return Seen(Phase.FAILED, reason, message)

    def _tell(self, waited: str) -> None:
        if waited != self._waited:  # each reason once
            self._waited = waited
            self.progress.stage(f"waiting for {waited}" if waited[0].islower() else f"waiting: {waited}")

    def _listen(self, pod: str) -> None:
        """Tell the lines of the log that were not told yet; a log that broke off is read again from its beginning."""
        for line in self.cluster.log(pod, CONTAINER):
            found = _STAMPED.fullmatch(line)
            if found is None:
                continue
            stamp = (found[1], (found[2] or "").ljust(9, "0"))
            text = mask(_COLOURS.sub("", found[3])).rstrip()
            if stamp > self._last and text:
                self._last = stamp
                self._lines.append(text)
                self.progress.stage(text)

    def _failed(self, found: Seen) -> Exception:
        return pods.failure(found, waited=self._waited, said="\n".join(self._lines), timeout=self.timeout)


def _has_run(pod: Document) -> bool:
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return any("terminated" in state for state in states)
