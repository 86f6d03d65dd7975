"""The job of an isolated call, on each of its hosts: run what the task says, and leave a result."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clary.engine import failure
from clary.engine.attempt import EXIT_COMPLETED, EXIT_FAILED
from clary.errors import ConfigError, Interruption
from clary.flows import isolation
from clary.runtime import failurefile, project
from clary.runtime.isolated import launchers, tasks
from clary.runtime.isolated.body import Ender, Inside, arguments_of, run_body
from clary.runtime.isolated.finding import find_checkpoint
from clary.runtime.isolated.hosts import Hosts
from clary.runtime.pointer import RUN_VARIABLE, Pointer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clary.journal.records import Record
    from clary.objects import ObjectStore

_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
"""Seconds between looks for what the other hosts have left."""


@dataclass(frozen=True)
class Assignment:
    """What this host is to do."""

    store: ObjectStore
    place: tasks.Place
    task: Record
    spec: Record
    hosts: Hosts
    opt_ml: Path

    @property
    def planned(self) -> Record:
        """What was made of the checkpoint at submit."""
        found: Record = self.spec["checkpoints"][self.task["name"]]
        return found


def run_call(opt_ml: Path) -> int:
    """Run the call that the environment points to, on this host, and return the exit code."""
    pointer = Pointer.parse(os.environ.get(RUN_VARIABLE, ""))
    place = tasks.Place(pointer.run, os.environ[tasks.CALL_VARIABLE])
    store, hosts = pointer.open_store(), Hosts.read(opt_ml)
    assignment = assign(opt_ml, store, place, hosts)
    if tasks.read(store, place.result) is not None:  # SageMaker has started the container of the same job anew
        print("clary: the call has its result already; nothing runs again.")
        return EXIT_COMPLETED
    os.environ.update(hosts.environment())
    started = time.time()
    ended = _on_this_host(assignment)
    ended |= {"host": hosts.current, "instance_type": hosts.instance_type, "seconds": round(time.time() - started, 3)}
    if hosts.leads:
        ended = tasks.settle(store, place.result, _with_the_others(assignment, ended))
    elif "error" in ended or assignment.planned["distribution"] != isolation.MPI:
        tasks.settle(store, place.host(hosts.rank), ended)
    return _leave(opt_ml, ended, len(hosts.names) > 1)


def assign(opt_ml: Path, store: ObjectStore, place: tasks.Place, hosts: Hosts) -> Assignment:
    """Return what the task says; raises ConfigError ``job.bad_pointer``, JournalError ``job.no_spec``."""
    task = tasks.read(store, place.task) if place.valid else None
    if task is None:
        raise ConfigError(
            "job.bad_pointer",
            f"{tasks.CALL_VARIABLE} points to no call: {place.name[:100]!r}.",
            next_step=f"Jobs of Clary are made by Clary, which sets {tasks.CALL_VARIABLE}; do not set it by hand.",
            field=tasks.CALL_VARIABLE,
        )
    return Assignment(store, place, task, project.read_spec(store, task["spec"]), hosts, opt_ml)


def set_variables(assignment: Assignment) -> None:
    """Set the variables of the call's job that refer to secrets."""
    project.set_variables({**assignment.spec, "environment": assignment.planned["environment"]})


def run_here(assignment: Assignment, root: Path, leave: Callable[[Record], object]) -> Record:
    """Import the checkpoint, run its body in this process, and return how it ended.

    ``leave`` keeps the failure of a body that does not heed the end of its time: its process is ended then.
    """
    task, store = assignment.task, assignment.store
    try:
        project.load(root, assignment.spec)
        checkpoint = find_checkpoint(task["module"], task["qualname"], task["name"])
        given = arguments_of(checkpoint, task, store)
    except Exception as error:  # noqa: BLE001 - whatever the user's modules raise is the failure of the call
        return {"v": 1, "error": failure.describe(error, store), "cause": failure.cause_of(error), "records": []}

    def too_late(ended: Record) -> None:
        print("clary: the call did not heed the end of its time; its process is ended.", file=sys.stderr)
        leave({**ended, "host": assignment.hosts.current})

    inside = Inside(task["run"], task["attempt"], store)
    return run_body(inside, checkpoint, task["path"], given, ender=Ender(too_late))


def _on_this_host(assignment: Assignment) -> Record:
    """Do this host's part; return how it ended, which is the call's result where the host leads."""
    store, place, hosts = assignment.store, assignment.place, assignment.hosts
    try:
        set_variables(assignment)
        root = project.unpack(assignment.opt_ml, assignment.spec)
        launcher = assignment.planned["distribution"]
        if launcher in (isolation.TORCHRUN, isolation.MPI):
            return launchers.launch(launcher, assignment, root)
        key = place.result if hosts.leads else place.host(hosts.rank)
        return run_here(assignment, root, lambda ended: tasks.settle(store, key, ended))
    except Interruption:
        raise
    except Exception as error:  # noqa: BLE001 - a result tells more than a dead job
        return {"v": 1, "error": failure.describe(error, store), "cause": failure.cause_of(error), "records": []}


def _with_the_others(assignment: Assignment, own: Record) -> Record:
    """Return the call's result: this host's, once the others have done well, or the failure of one of them."""
    others = range(1, len(assignment.hosts.names))
    if assignment.planned["distribution"] == isolation.MPI:  # mpirun has waited for them
        if own.get("error", {}).get("code") != launchers.WORDLESS:
            return own
        told_by = (tasks.read(assignment.store, assignment.place.host(rank)) for rank in others)
        return next((told for told in told_by if told is not None and "error" in told), own)
    if "error" in own:
        return own
    pause = _PAUSE
    for rank in others:
        while (told := tasks.read(assignment.store, assignment.place.host(rank))) is None:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        if "error" in told:
            return told
    return own


def _leave(opt_ml: Path, ended: Record, many: bool) -> int:
    """Print and leave the reason of a failure; return the exit code."""
    error = ended.get("error")
    if error is None:
        return EXIT_COMPLETED
    where = f"[{ended['host']}] " if many and "host" in ended else ""
    sys.stderr.write(f"{where}{error['traceback']}")
    step = f" Next step: {error['next_step']} [{error['code']}]" if "next_step" in error else ""
    summary = f"{where}{error['type']}: {error['message']}{step}"
    text = failurefile.compose(ended.get("cause", "user_code"), summary, error.get("frames", ()))
    failurefile.write(opt_ml, text)
    return EXIT_FAILED
