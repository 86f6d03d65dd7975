"""One process of a distributed call: ``python -m clary.runtime.isolated.worker``, started by torchrun or mpirun."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clary.flows.isolation import MPI
from clary.runtime.isolated import tasks
from clary.runtime.isolated.entry import assign, run_here, set_variables
from clary.runtime.isolated.hosts import Hosts
from clary.runtime.isolated.launchers import CODE_VARIABLE, OPT_ML_VARIABLE, OUTCOMES_VARIABLE, take_own_variables
from clary.runtime.pointer import RUN_VARIABLE, Pointer

if TYPE_CHECKING:
    from clary.journal.records import Record

_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
"""Variables that tell a process its number: torchrun's, Open MPI's, that of PMIx, and that of MPICH's kin."""


def main() -> int:
    """Run the call's body in this process; leave how it ended, if it failed or is the first of all."""
    take_own_variables()
    opt_ml = Path(os.environ[OPT_ML_VARIABLE])
    pointer, hosts = Pointer.parse(os.environ[RUN_VARIABLE]), Hosts.read(opt_ml)
    place = tasks.Place(pointer.run, os.environ[tasks.CALL_VARIABLE])
    assignment = assign(opt_ml, pointer.open_store(), place, hosts)
    os.environ.update(hosts.environment())
    set_variables(assignment)
    rank = int(next((os.environ[name] for name in _RANKS if name in os.environ), "0"))

    def leave(ended: Record) -> None:
        told = {**ended, "host": hosts.current, "rank": rank}
        _leave(Path(os.environ[OUTCOMES_VARIABLE]), rank, told)
        if not hosts.leads and assignment.planned["distribution"] == MPI:
            # The first host's mpirun ends with this process, and asks nobody why: it has to be told before.
            tasks.settle(assignment.store, place.host(hosts.rank), told)

    ended = run_here(assignment, Path(os.environ[CODE_VARIABLE]), leave)
    if rank == 0 or "error" in ended:
        leave(ended)
    return 1 if "error" in ended else 0


def _leave(folder: Path, rank: int, ended: dict[str, object]) -> None:
    arriving = folder / f".{rank}"
    arriving.write_text(json.dumps(ended))
    arriving.replace(folder / f"{rank}.json")


if __name__ == "__main__":
    sys.exit(main())
