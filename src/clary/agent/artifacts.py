"""What a run has kept: values saved by name, outputs of checkpoints, and the result; to list, to read, to write out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from clary.agent.place import place_of
from clary.artifacts import decode, preview, shown
from clary.artifacts.export import Export
from clary.artifacts.storing import address
from clary.errors import NotFoundError, UsageError, nearest
from clary.journal import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.agent.place import Place
    from clary.journal.records import Record
    from clary.journal.state import RunState
    from clary.stacks.model import Stack

__all__ = ["Artifact", "describe", "export", "get", "list_artifacts"]

SAVED, CHECKPOINT, RESULT = "saved", "checkpoint", "result"
_SHORTEST_ADDRESS = 6
"""Characters of a digest from which on it names an artifact."""
_SHOWN_DIGITS = 12
"""Of a digest, where it tells artifacts apart."""


@dataclass(frozen=True)
class Artifact:
    """One kept value of a run."""

    name: str
    """The name it was saved by, the path of the checkpoint's call, or ``result``."""
    kind: str
    """``saved``, ``checkpoint`` or ``result``."""
    type: str
    """Name of the value's type."""
    codec: str
    """How it is kept (``docs/reference/values.md``)."""
    size: int
    """Bytes, with those of all its parts."""
    digest: str
    """SHA-256 of the kept bytes."""
    location: str | None
    """Where its object lies; None for a value that stands in the run's record itself."""
    preview: str
    """One line."""
    needs_trust: bool
    """Whether reading it back runs code that it carries."""
    shown: dict[str, Any] = field(default_factory=dict)
    """A preview to show, plain data: ``kind`` tells its form."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, the item of ``-o json``."""
        return asdict(self)


def list_artifacts(stack: Stack, run_id: str, *, name: str | None = None) -> list[Artifact]:
    """Return what a run has kept, saved values first, then outputs in the order of the record, then the result.

    ``name`` leaves those whose name, or whose checkpoint's name, it is. Raises NotFoundError (``run.not_found``;
    ``artifact.not_found`` where nothing has that name).
    """
    place = place_of(stack)
    state = place.read(run_id)
    kept = list(_kept(state))
    if name is not None:
        wanted = [item for item in kept if name in (item[0], _name_of_call(item[0]))]
        if not wanted:
            raise _not_found(run_id, name, kept)
        kept = wanted
    return [_artifact(place, *item) for item in kept]


def describe(stack: Stack, run_id: str, what: str) -> Artifact:
    """Return one artifact, named by its name, the path of its call, or its digest (6 characters or more).

    Raises NotFoundError (``run.not_found``, ``artifact.not_found``), UsageError (``artifact.ambiguous``).
    """
    place = place_of(stack)
    return _artifact(place, *_find(place.read(run_id), what))


def get(stack: Stack, run_id: str, what: str, *, trust: bool = False) -> Any:
    """Return the value of one artifact, named as for ``describe``.

    Raises what ``describe`` raises; SerializationError: ``value.untrusted`` for one that is pickled, without ``trust``,
    ``value.unreadable``; JournalError (``value.missing``).
    """
    place = place_of(stack)
    return decode(_find(place.read(run_id), what)[2], place.store, unpickle=trust)


def export(stack: Stack, run_id: str, what: str, *, trust: bool = False) -> Export:
    """Return what writes one artifact out as a file or a folder; its code is not run, nor need its libraries be here.

    Raises what ``describe`` raises, and SerializationError (``value.untrusted``) as ``get`` does.
    """
    place = place_of(stack)
    name, _, encoded = _find(place.read(run_id), what)
    return Export(encoded, place.store, name=name, trust=trust)


def _kept(state: RunState) -> Iterator[tuple[str, str, Record]]:
    """Yield (name, kind, encoded value)."""
    for name, record in state.saved.items():
        yield name, SAVED, record["value"]
    for path, record in state.calls.items():
        if record["kind"] == records.CALL:
            yield path, CHECKPOINT, record["output"]
    if state.output is not None:
        yield RESULT, RESULT, state.output


def _artifact(place: Place, name: str, kind: str, encoded: Record) -> Artifact:
    export = Export(encoded, place.store, name=name, trust=True)
    return Artifact(
        name=name,
        kind=kind,
        type=encoded["t"],
        codec=encoded["c"],
        size=export.total,
        digest=_digest(encoded),
        location=place.store.url(encoded["at"]) if "at" in encoded else None,
        preview=preview(encoded),
        needs_trust=export.needs_trust,
        shown=shown(encoded),
    )


def _digest(encoded: Record) -> str:
    if "v" in encoded:
        return str(encoded["d"])
    return address(encoded)


def _find(state: RunState, what: str) -> tuple[str, str, Record]:
    kept = list(_kept(state))
    named = {_digest(item[2]): item for item in kept if item[0] == what}
    if len(named) > 1:
        raise _of_one_name(state.run, what, named)
    if named:
        return next(iter(named.values()))
    calls = [item for item in kept if _name_of_call(item[0]) == what]
    if len(calls) == 1:
        return calls[0]
    digest = what.removeprefix("values/")
    if len(digest) >= _SHORTEST_ADDRESS:
        found = {_digest(item[2]): item for item in kept if _digest(item[2]).startswith(digest.lower())}
        if len(found) == 1:
            return next(iter(found.values()))
        calls += found.values()
    if calls:
        raise UsageError(
            "artifact.ambiguous",
            f"“{what}” stands for {len(calls)} artifacts of run {state.run}.",
            next_step=f"Name one by its path: {', '.join(item[0] for item in calls[:5])}.",
            field="name",
        )
    raise _not_found(state.run, what, kept)


def _of_one_name(run: str, what: str, found: Mapping[str, tuple[str, str, Record]]) -> UsageError:
    told = ", ".join(f"{digest[:_SHOWN_DIGITS]} ({kind})" for digest, (_, kind, _) in found.items())
    return UsageError(
        "artifact.ambiguous",
        f"“{what}” stands for {len(found)} artifacts of run {run}: a value was saved by a name that is taken.",
        next_step=f"Name one by its digest: {told}.",
        field="name",
    )


def _name_of_call(path: str) -> str:
    """Return the checkpoint's name of a call's path such as ``load#1/train#3``."""
    return path.rsplit("/", 1)[-1].rsplit("#", 1)[0]


def _not_found(run: str, what: str, kept: list[tuple[str, str, Record]]) -> NotFoundError:
    names = [item[0] for item in kept]
    meant = nearest(what, [*names, *map(_name_of_call, names)])
    hint = f"Did you mean “{meant}”? " if meant else ""
    return NotFoundError(
        "artifact.not_found",
        f"Run {run} has kept nothing by the name “{what}”.",
        next_step=f"{hint}`clary artifacts list {run}` shows what it has kept.",
        field="name",
        details={"run": run, "name": what, "names": names[:50]},
    )
