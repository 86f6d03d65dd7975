"""The sandbox's own small API under ``/_clary/``: status, faults, clock, quotas, rates.

It is for whoever may read the data folder: every request needs the token that lies there, in a file of mode 0600.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from clary.sandbox.bootstrap import ACCOUNT, REGION
from clary.sandbox.contact import PREFIX, TOKEN_HEADER
from clary.sandbox.model import JobKind
from clary.sandbox.wire import Environ, Response, json_response, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clary.sandbox.clock import SandboxClock
    from clary.sandbox.operations.context import Platform
    from clary.sandbox.rates import Rates

_GIVEN = "HTTP_" + TOKEN_HEADER.upper().replace("-", "_")


@dataclass(frozen=True)
class Admin:
    """The handlers of the administrative API."""

    token: str
    platform: Platform
    clock: SandboxClock
    rates: Rates
    facts: Mapping[str, Any]
    """What does not change while the sandbox runs: endpoint, executor, what it cannot honour."""
    started: float
    """Epoch seconds, real time."""

    def handle(self, environ: Environ) -> Response:
        """Answer one request."""
        given = environ.get(_GIVEN, "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return _answer(
                {"error": f"The header {TOKEN_HEADER} does not hold this sandbox's token."}, HTTPStatus.FORBIDDEN
            )
        route = environ["PATH_INFO"].removeprefix(PREFIX), environ["REQUEST_METHOD"]
        handler = self._routes().get(route)
        if handler is None:
            return _answer({"error": f"There is no {route[1]} {PREFIX}{route[0]}."}, HTTPStatus.NOT_FOUND)
        try:
            return _answer(handler(json.loads(read_body(environ) or b"{}")), HTTPStatus.OK)
        except (ValueError, TypeError, KeyError) as error:
            return _answer({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    def _routes(self) -> Mapping[tuple[str, str], Callable[[dict[str, Any]], Any]]:
        return {
            ("status", "GET"): self._status,
            ("faults", "GET"): lambda _: {"faults": self.platform.faults.planned()},
            ("faults", "POST"): lambda wish: self.platform.faults.add(wish.pop("kind"), **wish).to_dict(),
            ("faults", "DELETE"): self._clear_faults,
            ("clock", "POST"): self._set_clock,
            ("quotas", "POST"): self._set_quota,
            ("rates", "POST"): self._set_rate,
            ("interrupt", "POST"): self._interrupt,
        }

    def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        unfinished = self.platform.store.unfinished()
        return {
            **self.facts,
            "pid": os.getpid(),
            "uptime_seconds": round(time.time() - self.started, 3),
            "jobs_running": [{"kind": job.kind.value, "name": job.name, "status": job.status} for job in unfinished],
            "clock": {"now": self.clock.now(), "speed": self.clock.speed},
            "rates_enforced": self.rates.enforced,
        }

    def _clear_faults(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.platform.faults.clear()
        return {}

    def _set_clock(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        if "speed" in wish:
            self.clock.set_speed(float(wish["speed"]))
        if "advance" in wish:
            self.clock.advance(float(wish["advance"]))
        return {"now": self.clock.now(), "speed": self.clock.speed}

    def _set_quota(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        account, region = wish.get("account", ACCOUNT), wish.get("region", REGION)
        self.platform.quotas.set(wish["name"], float(wish["value"]), account, region)
        return {"name": wish["name"], "value": float(wish["value"])}

    def _set_rate(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        if "enforced" in wish:
            self.rates.enforced = bool(wish["enforced"])
        if "operation" in wish:
            self.rates.set(wish["operation"], float(wish["per_second"]), int(wish["burst"]))
        return {"enforced": self.rates.enforced}

    def _interrupt(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        account, region = wish.get("account", ACCOUNT), wish.get("region", REGION)
        job = self.platform.store.get(JobKind.TRAINING, wish["job"], account=account, region=region)
        if job is None or not job.request.get("EnableManagedSpotTraining"):
            raise ValueError(f"There is no spot training job {wish['job']!r}.")
        self.platform.life.interrupt(job)
        return {"job": job.name}


def _answer(document: Any, status: HTTPStatus) -> Response:
    return json_response(document, status=status.value, content_type="application/json")
