"""A service on loopback that speaks AWS JSON 1.1, and Scheduler's REST-JSON.

It answers what a test tells it to, lost replies included.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Mapping[str, Any]] | None
"""Status and body; None closes the connection without a word."""


_SCHEDULES = {"POST": "CreateSchedule", "GET": "GetSchedule", "DELETE": "DeleteSchedule"}


def refusal(code: str, message: str = "", status: int = 400) -> tuple[int, dict[str, Any]]:
    """Return an answer that says no."""
    return status, {"__type": code, "message": message}


class ScriptedAws:
    """Answers each operation from its queue; the last answer is given again and again."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.agents: list[str] = []
        self._answers: dict[str, deque[Answer | Callable[[dict[str, Any]], Answer]]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.script = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget(self) -> None:
        """Begin again, without calls and answers."""
        self.calls.clear()
        self.agents.clear()
        self._answers.clear()

    def answers(self, operation: str, *answers: Answer | Callable[[dict[str, Any]], Answer]) -> None:
        """Give the answers to ``operation``, one after the other. A function is given the request."""
        self._answers[operation] = deque(answers)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """Return the requests that came for ``operation``."""
        return [request for name, request in self.calls if name == operation]

    def answer(self, operation: str, request: dict[str, Any]) -> Answer:
        """Take the next answer."""
        self.calls.append((operation, request))
        queue = self._answers[operation]
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        return answer(request) if callable(answer) else answer

    @contextmanager
    def serving(self) -> Iterator[ScriptedAws]:
        """Serve inside the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    script: ScriptedAws


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        self.server.script.agents.append(self.headers["User-Agent"])
        target = self.headers["X-Amz-Target"]
        operation = target.rpartition(".")[2] if target else _SCHEDULES[self.command]
        answer = self.server.script.answer(operation, request if target else {**request, "path": self.path})
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_DELETE = do_POST  # noqa: N815 - the names are the base class's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass
