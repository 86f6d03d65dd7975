"""State changes of jobs as EventBridge events: from the store's outbox into moto's bus, and on to rules' targets.

AWS "may send multiple events per state change", late and out of order; the faults ``duplicate_events`` and
``delay_events`` do that on purpose.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.sandbox.operations.shapes import projected

if TYPE_CHECKING:
    from clary.sandbox.faults import Faults
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.store import Event, SqliteJobStore

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 0.5
_HELD_SECONDS = 0.05


class EventPump:
    """A thread that delivers what the outbox holds, in order; an event held back by a fault is overtaken."""

    def __init__(self, store: SqliteJobStore, gateway: Gateway, faults: Faults) -> None:
        self._store = store
        self._gateway = gateway
        self._faults = faults
        self._held: dict[int, float] = {}
        self._judged = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def close(self) -> None:
        """Stop delivering; what is left is delivered after the next start."""
        self._closing.set()
        self._store.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closing.is_set():
            for event in self._store.undelivered():
                if self._closing.is_set():
                    return
                if self._due(event):
                    self._deliver(event)
            self._store.wait_for_event(_HELD_SECONDS if self._held else _IDLE_SECONDS)

    def _due(self, event: Event) -> bool:
        if event.id > self._judged:
            self._judged = event.id
            delay = self._faults.take("delay_events", operation=event.detail_type, name=event.name)
            if delay is not None:
                self._held[event.id] = time.monotonic() + float(delay.get("seconds", 1.0))
        return self._held.get(event.id, 0.0) <= time.monotonic()

    def _deliver(self, event: Event) -> None:
        doubled = self._faults.take("duplicate_events", operation=event.detail_type, name=event.name)
        try:
            for _ in range(1 if doubled is None else 2):
                put(event)
            self._gateway.queues.capture()
        except Exception:  # noqa: BLE001 - a rule with a broken target must not stop the others
            _log.exception("could not deliver the event of %s", event.name)
        self._held.pop(event.id, None)
        self._store.delivered(event)


def put(event: Event) -> None:
    """Put one event on the default bus of its account and region."""
    if "moto.events.models" not in sys.modules:  # nobody has made a rule
        return
    from moto.events.models import events_backends

    entry = {
        "Source": "aws.sagemaker",
        "DetailType": event.detail_type,
        "Resources": [event.arn],
        "Time": event.time,
        "Detail": json.dumps(detail_of(event)),
    }
    events_backends[event.account][event.region].put_events([entry])


def detail_of(event: Event) -> dict[str, Any]:
    """Return the describe payload as events carry it: tags included, times as text of epoch milliseconds."""
    kind = "Training" if "TrainingJobArn" in event.detail else "Processing"
    shown = projected(f"Describe{kind}Job", event.detail)
    detail = _times_as_text(shown)
    return {**detail, "Tags": event.detail.get("Tags", {})}


def _times_as_text(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _times_as_text(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_times_as_text(item) for item in value]
    return str(int(value * 1000)) if name.endswith("Time") and isinstance(value, int | float) else value
