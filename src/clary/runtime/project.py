"""The project in the job: what the spec names, unpacked from the code channel, with its variables set."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from clary.errors import JournalError
from clary.runtime import loading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from clary.journal.records import Record
    from clary.objects import ObjectStore


def read_spec(store: ObjectStore, digest: str) -> Record:
    """Return a spec; raises JournalError ``job.no_spec`` where it is gone."""
    data = store.get(f"specs/{digest}.json")
    if data is None:
        raise JournalError(
            "job.no_spec",
            f"The specification {store.url(f'specs/{digest}.json')} is gone.",
            next_step="Resume the run from the project: clary runs resume RUN.",
        )
    spec: Record = json.loads(data)
    return spec


def set_variables(spec: Mapping[str, Any]) -> None:
    """Set the variables that refer to secrets, and mask those secrets in all output from now on."""
    if "secrets" in spec:
        from clary.runtime import secrets

        secrets.set_environment(spec)


def unpack(opt_ml: Path, spec: Record) -> Path:
    """Unpack the code, make its folder the current one, and return it."""
    from clary.code.archive import unpack

    root = opt_ml / "code"
    if root.exists():  # the container of the same job was started again
        root = root.with_name(f"code-{os.getpid()}")
    unpack(opt_ml / "input" / "data" / "code" / f"{spec['code']}.tar.gz", root, spec["code"])
    os.chdir(root)
    return root


def load(root: Path, spec: Record) -> ModuleType:
    """Import the module that holds the flow."""
    return loading.load_module(root, spec["flow"])
