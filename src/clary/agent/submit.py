"""Submitting: check, upload what is missing, record, then ask for the job. Intent is on record before any effect.

For an unchanged project that is five requests in three round trips: three looks (code, runtime, spec), side by side;
the record; CreateTrainingJob. The looks are never saved by remembering uploads: a remembered object may be gone, and
the job would find that out after minutes; side by side they cost one round trip whether there is one of them or three.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.agent import lifecycle, secrets
from clary.agent.local import encode_inputs, is_live, refuse_completed, refuse_waiting, who
from clary.agent.planning import Plan, again, plan
from clary.agent.present import run_view
from clary.agent.specs import spec_bytes, spec_key
from clary.agent.verified import verify_once
from clary.errors import UsageError
from clary.files import size_text
from clary.ids import new_id
from clary.journal import records
from clary.journal.records import new_entry
from clary.journal.state import RunState
from clary.journal.writer import append, store
from clary.objects import open_store
from clary.runtime.tree import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clary.agent.keys import Once
    from clary.agent.place import Place
    from clary.agent.replay import Seed
    from clary.agent.targets import FlowTarget
    from clary.agent.views import Observer, RunView
    from clary.journal.records import Record
    from clary.objects import ObjectStore

_UPLOADERS = 16
"""Objects that are stored at once."""


def start(
    place: Place,
    target: FlowTarget,
    inputs: dict[str, Any],
    observer: Observer | None,
    seed: Seed | None = None,
    once: Once | None = None,
) -> RunView:
    """Record a new run and ask for its job; return when SageMaker has taken the request.

    A replay begins with its ``seed``, which has its inputs. Where somebody else has just begun the run of the key in
    ``once``, that one is returned.

    Raises, before anything is stored: what ``plan`` raises, SerializationError for an input that cannot be kept,
    NotFoundError (``stack.bucket_not_found``, ``stack.role_not_found``). Then AwsError and its kin. A job that
    SageMaker refuses is no error here: the run is recorded as failed, with the reason.
    """
    run = new_id() if once is None else once.run
    with tempfile.TemporaryDirectory(prefix="clary-") as staging:
        staged = open_store(staging)
        encoded = seed.inputs if seed is not None else encode_inputs(inputs, staged)
        planned = plan(place, target, run, 1, observer)
        _verify(place, planned, observer)
        sizes = planned.images.finish()
        _upload(place.store, planned, staged, observer)
    if once is not None and not once.claim():
        return _begun_by_another(place, once.run)
    origin, on_change = (None, "error") if seed is None else (seed.replay_of, seed.on_change)
    created = records.created(
        run,
        flow=target.flow.name,
        stack=place.stack.name,
        spec=planned.name,
        inputs=encoded,
        by=who(),
        replay_of=origin,
        key=None if once is None else once.key,
    )
    state = RunState()
    with place.log(run) as log:
        if seed is not None:
            seed.write(log, state)
        entry = new_entry(state.seq + 1, [created, _claim(planned, 1, sizes, on_change)])
        if store(log, entry) is not None:
            assert once is not None  # else the id is new, and nobody writes here
            return _begun_by_another(place, run)
        state.apply(entry)
        if observer is not None:
            observer.submitted(run_view(state, place.store))
        return lifecycle.send(place, log, state, observer).view


def _begun_by_another(place: Place, run: str) -> RunView:
    return replace(lifecycle.advance(place, run).view, reused=True)


def resume(place: Place, run: str, target: FlowTarget | None, on_change: str, observer: Observer | None) -> RunView:
    """Ask for a job that goes on with a run: with the project's code as it is now, or, without a target, with the
    code of the attempt before.

    Raises ConflictError: ``run.is_live`` for a run that is under way, or that somebody else has just resumed,
    ``run.is_completed``; UsageError ``run.never_submitted``; and what ``start`` raises.
    """
    seen = lifecycle.advance(place, run)
    refuse_completed(seen.state)
    refuse_waiting(seen.state)
    if not seen.state.idle:
        raise is_live(run)
    number = max(seen.state.attempts, default=0) + 1
    if target is None:
        record = _same_again(seen.state, number, on_change)
    else:
        planned = plan(place, target, run, number, observer)
        _verify(place, planned, observer)
        before = seen.state.attempt
        if observer is not None and before is not None and planned.name["code"] != before.spec.get("code"):
            observer.note(f"The project's code has changed since attempt {before.number}; the new code runs.")
        sizes = planned.images.finish()
        _upload(place.store, planned, None, observer)
        record = _claim(planned, number, sizes, on_change)
    state = seen.state

    def claim(now: RunState) -> list[Record]:
        refuse_completed(now)
        if not now.idle or number in now.attempts:
            raise is_live(run)
        return [record]

    with place.log(run) as log:
        append(log, state, claim)
        if observer is not None:
            observer.submitted(run_view(state, place.store))
        return lifecycle.send(place, log, state, observer).view


def _claim(planned: Plan, number: int, sizes: Mapping[str, int], on_change: str = "error") -> Record:
    size = sizes.get(planned.request["AlgorithmSpecification"]["TrainingImage"])
    spec = planned.name | ({"image_size": size} if size else {})
    return records.attempt(number, job=planned.job, request=planned.request, spec=spec, on_change=on_change)


def _same_again(state: RunState, number: int, on_change: str) -> Record:
    before = state.attempt
    if before is None or before.request is None:
        raise UsageError(
            "run.never_submitted",
            f"Run {state.run} has no attempt whose code could run again.",
            next_step="Resume it in the project's folder.",
            field="run",
        )
    job, request = again(before.request, state.flow, state.run, number)
    return records.attempt(number, job=job, request=request, spec=before.spec, on_change=on_change)


def _verify(place: Place, planned: Plan, observer: Observer | None) -> None:
    """See that bucket and role exist, once for each, and the secrets that are named; tell what looks wrong."""
    warnings = verify_once(replace(place.stack, execution_role=planned.request["RoleArn"]))
    unseen = secrets.check(place, planned.referring) if planned.referring else []
    if observer is None:
        return
    for warning in [*planned.warnings, *warnings, *unseen]:
        observer.note(warning)
    withheld = planned.code.selection.withheld
    if withheld:
        observer.note(f"Not sent, for they may hold secrets: {', '.join(withheld[:5])}{' …' if withheld[5:] else ''}")


def _upload(store: ObjectStore, planned: Plan, staged: ObjectStore | None, observer: Observer | None) -> None:
    """Store what is not there yet. The spec goes first and alone: a bucket that is missing shows before any upload."""
    spec, marker = spec_key(planned.name["digest"]), f"{planned.runtime.prefix}/{MANIFEST}"
    with ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="clary-upload") as pool:
        has_spec, has_code, has_runtime = pool.map(
            lambda key: store.size(key) is not None, (spec, planned.code.key, marker)
        )
        if not has_spec:
            store.put(spec, spec_bytes(planned.spec))
        jobs: list[Callable[[], object]] = []
        if not has_code:
            jobs.append(lambda: _upload_code(store, planned, observer))
        if not has_runtime:
            if observer is not None:
                observer.note(f"Uploading Clary's runtime for the job, {size_text(planned.runtime.size)}, once.")
            folder, prefix = planned.runtime.folder, planned.runtime.prefix
            jobs += [_put(store, f"{prefix}/{path}", folder / path) for path in planned.runtime.files]
        if staged is not None:
            jobs += [_put(store, key, Path(staged.root) / key) for key in staged.keys("values")]
        for done in [pool.submit(job) for job in jobs]:
            done.result()
    if not has_runtime:
        store.put_file(marker, planned.runtime.folder / MANIFEST)  # last: it says that the tree is whole


def _put(store: ObjectStore, key: str, file: Path) -> Callable[[], object]:
    return lambda: store.put_file(key, file)


def _upload_code(store: ObjectStore, planned: Plan, observer: Observer | None) -> None:
    with tempfile.TemporaryDirectory(prefix="clary-") as folder:
        archive = Path(folder) / "code.tar.gz"
        planned.code.pack(archive)
        if observer is not None:
            files = len(planned.code.selection.files)
            observer.note(f"Uploading the project's code: {files} files, {size_text(archive.stat().st_size)} packed.")
        store.put_file(planned.code.key, archive)
