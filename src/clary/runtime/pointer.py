"""The one pointer that a job's request carries: which run, in which bucket, reached how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from clary.errors import ConfigError
from clary.objects import ObjectStore, open_store

RUN_VARIABLE = "CLARY_RUN"
ATTEMPT_VARIABLE = "CLARY_ATTEMPT"
WOKEN_VARIABLE = "CLARY_WOKEN_AT"
"""Set where a schedule made the job: the moment that it was made for (epoch seconds)."""
PATIENCE = 300.0
"""Seconds for which a job waits for S3 to answer a read: as long as for a write of its record."""


def renumbered(request: dict[str, Any], job: str, attempt: int) -> dict[str, Any]:
    """Return the request of a job that runs just what another one runs, as a further attempt."""
    environment = {**request["Environment"], ATTEMPT_VARIABLE: str(attempt)}
    return {**request, "TrainingJobName": job, "Environment": environment}


@dataclass(frozen=True)
class Pointer:
    """Where a run's record lies: ``s3://bucket/prefix/runs/<run>?region=…&endpoint=…``."""

    root: str
    run: str
    region: str | None = None
    endpoint: str | None = None

    def __str__(self) -> str:
        query = {"region": self.region, "endpoint": self.endpoint}
        known = urlencode({name: value for name, value in query.items() if value})
        return f"{self.root}/runs/{self.run}" + (f"?{known}" if known else "")

    @classmethod
    def parse(cls, text: str) -> Pointer:
        """Read a pointer; raises ConfigError (``job.bad_pointer``)."""
        parts = urlsplit(text)
        root, found, run = f"{parts.scheme}://{parts.netloc}{parts.path}".rpartition("/runs/")
        if parts.scheme != "s3" or not found or not run or "/" in run:
            raise ConfigError(
                "job.bad_pointer",
                f"{RUN_VARIABLE} holds no run: {text[:200]!r}.",
                next_step=f"Jobs of Clary are made by Clary, which sets {RUN_VARIABLE}; do not set it by hand.",
                field=RUN_VARIABLE,
            )
        query = parse_qs(parts.query)
        return cls(root, run, query.get("region", [None])[0], query.get("endpoint", [None])[0])

    def open_store(self) -> ObjectStore:
        """Open the artifact store with the job's own role. Its reads bear an outage, the very first ones too."""
        return open_store(self.root, region=self.region, endpoint=self.endpoint, patience=PATIENCE)
