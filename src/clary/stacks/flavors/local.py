"""This machine: runs happen in the calling process and are kept in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clary.stacks.flavors import Flavor, Option
from clary.stacks.model import LOCAL


def _folder(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return "expected a folder"
    return (
        "a local stack keeps its runs in a folder; a bucket belongs to a sagemaker stack (flavor s3)"
        if "://" in value
        else None
    )


def _store(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"artifact_store": str(Path(options["path"]).expanduser().absolute())}


ORCHESTRATOR = Flavor(
    "orchestrator",
    LOCAL,
    "Runs flows in the calling process.",
    (),
    lambda _options: {"type": LOCAL},
)
ARTIFACT_STORE = Flavor(
    "artifact_store",
    LOCAL,
    "Keeps runs and values in a folder of this machine.",
    (Option("path", "The folder.", _folder, required=True, metavar="FOLDER"),),
    _store,
)
