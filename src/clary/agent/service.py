"""What can be done with flows and runs: the one door for Python and the command line (and later the API).

Each function takes the stack it works on. Runs on a ``local`` stack happen in the calling process; all others are jobs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.agent import catalog, configuration, keys, lifecycle, local, observe, progress
from clary.agent.place import Place, place_of
from clary.agent.replay import Changes, prepare, refuse_retry
from clary.agent.specs import read_spec
from clary.agent.targets import FlowTarget, load_target, reload_target, target_of
from clary.agent.views import SETTLED
from clary.code.project import find_project
from clary.errors import NotFoundError, RunFailedError, RunStoppedError, RunTimeoutError, UsageError
from clary.flows.declared import check_named
from clary.flows.flow import CallOptions
from clary.stacks.service import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.agent.views import Observer, RunView
    from clary.journal.state import RunState
    from clary.stacks.model import Stack

__all__ = [
    "Changes",
    "FlowTarget",
    "answer",
    "choose_stack",
    "find_run",
    "follow",
    "get_run",
    "list_runs",
    "load_target",
    "logs",
    "replay",
    "result",
    "resume",
    "retry",
    "specification",
    "start",
    "stop",
    "target_of",
    "wait",
]


def choose_stack(explicit: str | None = None, flow: str | None = None) -> Stack:
    """Return the stack that a run uses: named for it, else by the flow's decorator, else the current one.

    Raises NotFoundError (``stack.not_found``).
    """
    return resolve(explicit, flow)


def start(target: FlowTarget, inputs: Mapping[str, Any], stack: Stack, *, observer: Observer | None = None) -> RunView:
    """Start a run. A local one is over when this returns; of any other the job has been asked for.

    Under a key (``flow.with_options(key=…)``) that a run of the flow was started with before, begin nothing and return
    that run, whatever has become of it: its view is ``reused``.

    Raises UsageError for inputs that do not fit, SerializationError for one that cannot be kept, and whatever makes a
    submission impossible, before anything is uploaded; ConflictError (``run.key_taken``) for a key with other inputs.
    """
    check_named(target.flow.name)
    bound = target.flow.bind(inputs)
    target = configuration.configured(target, stack, observer)
    place = place_of(stack)
    key = target.flow.call.key
    once = None if key is None else keys.Once(place, target.flow.name, key, bound)
    if once is not None and once.begun():
        return _found(stack, once, observer)
    if place.local:
        view = local.start(place, target, bound, observer, once=once)
    else:
        from clary.agent import submit

        view = submit.start(place, target, bound, observer, once=once)
        if target.project is not None and not view.reused:
            catalog.remember_project(view.id, target.project.root)
    return _found(stack, once, observer) if once is not None and view.reused else catalog.remember(view)


def _found(stack: Stack, once: keys.Once, observer: Observer | None) -> RunView:
    """Return the run that a key stands for already, as it is now."""
    view = get_run(stack, once.run)
    if observer is not None:
        went_wrong = view.status in SETTLED and view.status != "completed"
        step = f" `clary runs resume {view.id}` goes on with it." if went_wrong else ""
        observer.note(f"The key “{once.key}” stands for run {view.id}, which is {view.status}; nothing began.{step}")
    return replace(view, reused=True)


def follow(stack: Stack, run_id: str, observer: Observer) -> RunView:
    """Tell an observer what happens to a run until nothing runs for it any more, and return it as it ended."""
    return catalog.remember(observe.follow(place_of(stack), run_id, observer))


def list_runs(stack: Stack, *, limit: int = 20, status: str | None = None, flow: str | None = None) -> list[RunView]:
    """Return up to ``limit`` runs of a stack (a colleague's too), newest first; of one state and flow, if named."""
    return catalog.newest(place_of(stack), limit=limit, status=status, flow=flow)


def get_run(stack: Stack, run_id: str) -> RunView:
    """Return a run, brought up to date; raises NotFoundError (``run.not_found``)."""
    place = place_of(stack)
    view = catalog.remember(lifecycle.advance(place, run_id).view)
    if view.status != "running":
        return view
    return replace(view, progress=progress.read(place, run_id, view.attempts[-1].number))


def specification(stack: Stack, run_id: str) -> dict[str, Any]:
    """Return what the last attempt of a run was specified to run with: ``flow``, ``code``, ``python``, and ``values``,
    the options and job settings with where each comes from; secrets are left out.

    Raises NotFoundError (``run.not_found``, ``run.no_specification``).
    """
    from clary.agent import configured

    place = place_of(stack)
    state = place.read(run_id)
    named = state.attempt.spec if state.attempt is not None else state.spec
    spec = read_spec(place.store, named["digest"])
    if spec is None:
        raise NotFoundError(
            "run.no_specification",
            f"The specification of run {run_id} is gone from {place.root}.",
            next_step="Somebody has deleted objects there; a resume in the project's folder stores a new one.",
            field="run",
        )
    values = [one.to_dict() for one in configured.of_run(spec)]
    return {"run": run_id, **{name: spec[name] for name in ("flow", "code", "python")}, "values": values}


def find_run(prefix: str, stack: Stack | None = None) -> tuple[Stack, str]:
    """Return the stack and the full id of the run whose id begins with ``prefix``.

    Raises NotFoundError (``run.not_found``), UsageError (``run.ambiguous``).
    """
    return catalog.find(prefix, stack)


def logs(stack: Stack, run_id: str, *, follow: bool = False) -> Iterator[tuple[str, float, str]]:
    """Yield a run's output, all attempts in order, as (host, epoch seconds, line); with ``follow`` until it ends."""
    return observe.lines(place_of(stack), run_id, follow=follow)


def stop(stack: Stack, run_id: str) -> RunView:
    """Ask a run to stop; it is ``stopping`` until its job is known to be gone. One that is over stays as it is."""
    return catalog.remember(lifecycle.request_stop(place_of(stack), run_id).view)


def answer(stack: Stack, run_id: str, name: str | None, value: Any, *, abort: bool = False) -> RunView:
    """Answer what a run has asked; on SageMaker it goes on at once, a local one with ``resume``.

    Args:
        stack: where the run is kept.
        run_id: of the run.
        name: of the wait, or its path; None for the only open one.
        value: plain data that fits the question's type.
        abort: end the wait without an answer: it raises in the flow.

    Raises what ``clary.agent.answers.answer`` raises.
    """
    from clary.agent import answers
    from clary.journal import records

    how = records.ABORTED if abort else records.ANSWERED
    return catalog.remember(answers.answer(place_of(stack), run_id, name, value, how=how).view)


def resume(
    stack: Stack,
    run_id: str,
    *,
    on_change: str | None = None,
    observer: Observer | None = None,
    flow: FlowTarget | None = None,
    call: CallOptions | None = None,
) -> RunView:
    """Go on with a run that ended without a result, under the same id; what is recorded does not run again.

    Args:
        stack: where the run is kept.
        run_id: of the run.
        on_change: a recorded call whose source has changed: ``error``, ``rerun`` it, or ``accept`` its result. None:
            as configured, else ``error``.
        observer: told what happens.
        flow: the flow, with its code as it is now; None looks for it where the record says, below the folder that
            the run came from, or the project of the current folder for a run that came from another machine. A job
            whose project is not here runs the code that it ran before.
        call: options for this attempt and those after it; all else holds as when the run was started.

    Raises ConflictError (``run.is_live``, ``run.is_completed``), NotFoundError (``run.not_found``,
    ``run.project_not_found``).
    """
    place = place_of(stack)
    state = place.read(run_id)
    local.refuse_completed(state)
    local.refuse_waiting(state)
    target = _target_again(place, state, flow, call, observer)
    on_change = configuration.on_change(on_change)
    if place.local:
        if target is None:
            raise _no_project(state)
        return catalog.remember(local.resume(place, run_id, target, on_change, observer))
    from clary.agent import submit

    if target is None and observer is not None:
        observer.note("The flow's file is not on this machine: the code of the last attempt runs again.")
    return catalog.remember(submit.resume(place, run_id, target, on_change, observer))


def retry(stack: Stack, run_id: str, *, observer: Observer | None = None) -> RunView:
    """Run the calls again whose failure a run ended with, and only those, under the same id.

    Raises ConflictError (``run.not_failed``) for a run that has not failed, with what to do instead; and what
    ``resume`` raises.
    """
    refuse_retry(lifecycle.advance(place_of(stack), run_id).state)
    return resume(stack, run_id, observer=observer)


def replay(
    stack: Stack,
    run_id: str,
    at: str,
    changes: Changes | None = None,
    *,
    tag: str | None = None,
    on_change: str | None = None,
    observer: Observer | None = None,
    flow: FlowTarget | None = None,
) -> RunView:
    """Start a new run whose record begins with a copy of a run's, up to a call; from that call on everything runs.

    Args:
        stack: where the run is kept; the replay runs there too, with the code as it is now.
        run_id: of the run to replay.
        at: path of the call, or the name of its checkpoint where there is but one call of it.
        changes: how the replay is to differ.
        tag: a word for people, shown with the replay.
        on_change: a copied call that is another now: ``error``, ``rerun`` it, or ``accept`` its result. None: as
            configured, else ``error``.
        observer: told what happens.
        flow: the flow, as in ``resume``.

    Raises what ``clary.agent.replay.prepare`` raises, NotFoundError (``run.not_found``, ``run.project_not_found``).
    """
    place = place_of(stack)
    state = place.read(run_id)
    target = _target_again(place, state, flow, None, observer)
    if target is None:
        raise _no_project(state)
    way = configuration.on_change(on_change)
    seed = prepare(place, run_id, target, at, changes or Changes(), tag=tag, on_change=way, observer=observer)
    if place.local:
        return catalog.remember(local.start(place, target, {}, observer, seed))
    from clary.agent import submit

    view = submit.start(place, target, {}, observer, seed)
    if target.project is not None:
        catalog.remember_project(view.id, target.project.root)
    return catalog.remember(view)


def wait(stack: Stack, run_id: str, timeout: float | None = None) -> RunView:
    """Wait until nothing runs for a run any more; raises RunTimeoutError (``run.wait_timeout``) after ``timeout`` s."""
    ended = observe.wait(place_of(stack), run_id, timeout)
    if ended is None:
        raise RunTimeoutError(
            "run.wait_timeout",
            f"Run {run_id} has not ended within {timeout:g} seconds; it goes on.",
            next_step=f"Wait again with `clary runs wait {run_id}`, or follow it with `clary runs logs {run_id} -f`.",
        )
    return catalog.remember(ended)


def result(stack: Stack, run_id: str) -> Any:
    """Return the value of a completed run.

    A value that is not plain data was pickled, and reading it back runs code: the caller trusts whoever may write to
    the stack's artifact store. Nothing else here reads a value, only its preview.

    Raises what the flow raised (on a local stack), RunFailedError, RunStoppedError; ConflictError (``run.is_live``,
    ``run.is_waiting``) for a run that is not over.
    """
    from clary.artifacts import decode

    place = place_of(stack)
    state = place.read(run_id)
    if state.status == "completed" and state.output is not None:
        return decode(state.output, place.store)
    if not state.settled:
        raise local.is_waiting(state) if state.status == "waiting" else local.is_live(run_id)
    raised = local.raised(run_id) if place.local else None
    if raised is not None:
        raise raised
    raise _failure_of(place, state)


def _failure_of(place: Place, state: RunState) -> BaseException:
    from clary.agent.present import failure_view
    from clary.engine.failure import rebuild

    if state.status == "stopped":
        return RunStoppedError(
            "run.stopped",
            f"Run {state.run} was stopped.",
            next_step=f"Go on where it was with `clary runs resume {state.run}`.",
            details={"run": state.run},
        )
    shown = failure_view(state.run, state.failure or {})
    error = RunFailedError(
        f"run.{state.status}",
        f"Run {state.run} {state.status.replace('_', ' ')}: {shown.summary}",
        next_step=shown.next_step,
        details={"run": state.run, "cause": shown.cause, "frames": list(shown.frames)},
    )
    if state.failure is None or "error" not in state.failure:
        return error
    theirs = rebuild(state.failure["error"], place.store)
    if place.local:
        return theirs
    error.__cause__ = theirs
    return error


def _target_again(
    place: Place, state: RunState, flow: FlowTarget | None, call: CallOptions | None, observer: Observer | None
) -> FlowTarget | None:
    """Return the flow of a further attempt of a run, with the options that hold for it; None where it is not here."""
    target = flow or _target(place, state)
    if target is None:
        if call is not None and call != CallOptions():
            raise _no_project(state)  # the request of the attempt before is all there is, and it has its options
        return None
    if call is not None:
        target = replace(target, flow=target.flow.with_call(call))
    named = state.attempt.spec if state.attempt is not None else state.spec
    before = read_spec(place.store, named["digest"])
    sent = (state.attempt.request or {}).get("Environment") if state.attempt is not None else None
    return configuration.configured_again(target, place.stack, before, observer, sent)


def _target(place: Place, state: RunState) -> FlowTarget | None:
    """Return the flow of a run from this machine's files; None when they do not hold it."""
    named = state.attempt.spec if state.attempt is not None else state.spec
    spec = read_spec(place.store, named["digest"]) if place.local else None
    path = spec.get("path") if spec is not None else None
    root = Path(path) if path else catalog.project_of(state.run) or find_project(Path.cwd() / "_").root
    file = named["flow"].get("file")
    if file is not None and not (root / file).is_file():
        return None
    try:
        return reload_target(root, named["flow"])
    except UsageError as error:
        if file is None and error.code == "target.import_failed" and error.details.get("line") is None:
            return None  # a module that is nowhere here
        raise


def _no_project(state: RunState) -> NotFoundError:
    named = state.spec["flow"]
    return NotFoundError(
        "run.project_not_found",
        f"The flow of run {state.run} is not where it was: {named.get('file') or named.get('module')}.",
        next_step="Run the command in the project's folder, or put the file back.",
        field="run",
    )
