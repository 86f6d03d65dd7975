"""What is to be run, apart from a run's inputs: immutable, named by its content, shared by every run of it."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import TYPE_CHECKING

from clary.agent import configuration
from clary.settings import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.agent.targets import FlowTarget
    from clary.journal.records import Record
    from clary.objects import ObjectStore
    from clary.stacks.model import Stack

VERSION = 1


def local_spec(stack: Stack, target: FlowTarget, environment: Mapping[str, str]) -> Record:
    """Return the spec of a flow that runs here: its code stays where it is; variables refer to secrets by name."""
    effective = configuration.of(target, stack)
    said = [(name, source) for source, values in effective.settings_layers for name in values.get("environment") or {}]
    origins = {f"environment.{name}": source for name, source in said if name in environment}
    return {
        "v": VERSION,
        "flow": target.spec,
        "code": None,
        "runtime": None,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "store": {"root": stack.artifact_store, "region": None, "endpoint": None},
        "settings": {},
        "environment": hidden.left_out(environment),
        "path": None if target.project is None else str(target.project.root),
        **effective.frozen(origins),
    }


def spec_bytes(spec: Record) -> bytes:
    """Return the spec as it is stored."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def spec_key(digest: str) -> str:
    """Return where a spec lies under the artifact store's root."""
    return f"specs/{digest}.json"


def named(spec: Record) -> Record:
    """Return how the log names a spec."""
    digest = hashlib.sha256(spec_bytes(spec)).hexdigest()
    return {"digest": digest, "flow": spec["flow"], "code": spec["code"]}


def store_spec(store: ObjectStore, spec: Record) -> Record:
    """Store a spec where it is not stored yet, and return how the log names it."""
    name = named(spec)
    if store.size(spec_key(name["digest"])) is None:
        store.put(spec_key(name["digest"]), spec_bytes(spec))
    return name


def read_spec(store: ObjectStore, digest: str) -> Record | None:
    """Return a stored spec, or None when it is gone."""
    data = store.get(spec_key(digest))
    if data is None:
        return None
    spec: Record = json.loads(data)
    return spec
