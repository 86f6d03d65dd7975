"""SQS messages that survive: after anything that may have changed a queue, the difference is written down.

Only what a queue holds is kept. Who received a message, and until when it is hidden, is not: after a restart every
undeleted message is visible again, which at-least-once delivery allows.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clary.sandbox.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, queue TEXT NOT NULL, number INTEGER NOT NULL,
    state TEXT NOT NULL, PRIMARY KEY (account, region, queue, id)
) WITHOUT ROWID;
"""
_PLAIN = (
    "body", "receipt_handle", "sender_id", "sent_timestamp", "approximate_first_receive_timestamp", "deduplication_id",
    "approximate_receive_count", "group_id", "sequence_number", "delayed_until", "system_attributes",
)  # fmt: skip
_Place = tuple[str, str, str]


class Queues:
    """The durable side of moto's queues. ``sqs_backends`` is moto's own registry."""

    def __init__(self, database: Database, sqs_backends: Any) -> None:
        self._db = database
        self._backends = sqs_backends
        self._lock = threading.Lock()
        self._known: dict[_Place, set[str]] = {}
        self._number = 0

    def capture(self) -> None:
        """Write down messages that came and forget those that went, in every queue."""
        with self._lock:
            places = self._places()
            for place in self._known.keys() - places.keys():
                self._write(place, self._known.pop(place), [])
            for place, queue in places.items():
                known = self._known.setdefault(place, set())
                live = {
                    message.id: message for message in list(queue._messages) if message.id not in queue.deleted_messages
                }
                if live.keys() != known:
                    self._write(place, known - live.keys(), [live[name] for name in live if name not in known])
                    self._known[place] = set(live)

    def _places(self) -> dict[_Place, Any]:
        return {
            (account, region, name): queue
            for account, regions in list(self._backends.items())
            for region, backend in list(regions.items())
            for name, queue in list(backend.queues.items())
        }

    def _write(self, place: _Place, gone: set[str], new: list[Any]) -> None:
        with self._db.transaction():
            self._db.many(
                "DELETE FROM messages WHERE account=? AND region=? AND queue=? AND id=?",
                [(*place, name) for name in gone],
            )
            for message in new:
                self._number += 1
                self._db.execute(
                    "INSERT OR REPLACE INTO messages (account, region, queue, id, number, state) VALUES (?,?,?,?,?,?)",
                    (*place, message.id, self._number, json.dumps(_to_data(message))),
                )

    def restore(self) -> None:
        """Give moto back every message; the queues must be there."""
        places = self._places()
        for row in self._db.rows("SELECT * FROM messages ORDER BY number"):
            place = (row["account"], row["region"], row["queue"])
            self._number = row["number"]
            if place in places:
                places[place]._messages.append(_from_data(row["id"], json.loads(row["state"])))
                self._known.setdefault(place, set()).add(row["id"])


def _to_data(message: Any) -> dict[str, Any]:
    import base64

    state = {member: getattr(message, member) for member in _PLAIN}
    state["message_attributes"] = {
        name: {
            key: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
            for key, value in attribute.items()
        }
        for name, attribute in message.message_attributes.items()
    }
    return state


def _from_data(name: str, state: dict[str, Any]) -> Any:
    import base64

    from moto.sqs.models import Message

    message = Message(name, state["body"], state["system_attributes"])
    for member in _PLAIN:
        setattr(message, member, state[member])
    message.message_attributes = {
        attribute: {
            key: base64.b64decode(value["base64"]) if isinstance(value, dict) and "base64" in value else value
            for key, value in members.items()
        }
        for attribute, members in state["message_attributes"].items()
    }
    return message
