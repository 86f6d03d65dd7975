"""How far a run is, from its heartbeat: what its calls have told last. It proves nothing about life."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from clary.agent import output
from clary.agent.views import ProgressView
from clary.engine import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.agent.place import Place
    from clary.agent.views import Observer
    from clary.journal.writer import Journal


def heartbeat_key(run: str) -> str:
    """Return where the heartbeat of a run lies under the artifact store's root."""
    return f"runs/{run}/heartbeat.json"


def read(place: Place, run: str, attempt: int) -> tuple[ProgressView, ...]:
    """Return what the calls of an attempt have told last, in the order of their telling; empty where none has."""
    data = place.store.get(heartbeat_key(run))
    try:
        beat = json.loads(data or b"{}")
        return views(beat["progress"]) if beat.get("attempt") == attempt and "progress" in beat else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()  # of another version, or half of one: the next one will do


def views(lines: Mapping[str, Any]) -> tuple[ProgressView, ...]:
    """Return what a board holds as views."""
    return tuple(
        ProgressView(path, line["done"], line["total"], str(line["message"]), line["at"])
        for path, line in lines.items()
    )


def board_here(place: Place, journal: Journal, observer: Observer | None) -> progress.Board:
    """Return a board for an attempt in this process: it tells the observer, and whoever looks from elsewhere."""
    run, attempt = journal.state.run, journal.attempt

    def publish(lines: dict[str, Any]) -> None:
        beat = {"attempt": attempt, "at": time.time(), "progress": lines}
        place.store.put(heartbeat_key(run), json.dumps(beat).encode())
        if observer is not None:
            with output.not_kept():
                observer.progress(views(lines))

    board = progress.Board(publish)
    progress.attach(journal, board)
    return board
