"""Checkpoints on several hosts: real containers in one network, Debian's Open MPI and OpenSSH.

torchrun is a stand-in of the lab; ``scripts/torch`` trains with the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.test_isolated import ended, start, value

if TYPE_CHECKING:
    from e2e.conftest import Lab

pytestmark = pytest.mark.slow


def test_hosts_run_the_function_on_each_and_one_failure_is_the_calls(lab: Lab) -> None:
    meeting, failing = start(lab, "meets"), start(lab, "meets", fail_on=1)
    assert value(lab, meeting) == {"hosts": ["algo-1", "algo-2"], "rank": 0, "said": "hello from algo-2"}
    failed = ended(lab, failing)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert "host 1 does not want to" in failed.failure.summary


def test_launchers_find_what_they_expect_and_missing_ones_are_named(lab: Lab) -> None:
    run = start(lab, "launched")
    found = value(lab, run)
    assert found["torch"] == {
        "RANK": "0",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "NODE_RANK": "0",
        "MASTER_ADDR": "algo-1",
        "MASTER_PORT": "29500",
        "launcher": "torchrun",
        "host": 0,
    }
    for failed in (found["torch_failed"], found["mpi_failed"]):
        assert failed.startswith("ValueError: rank 3 does not want to")
    assert found["mpi"] == {
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
        "host": 0,
        "rank": 0,
        "size": 4,
        "total": 100,
    }
    assert "The image has no mpirun" in found["toolless"]
    lines = lab.logs(run.id)
    assert {f"rank {rank} of 4 runs" for rank in range(4)} <= set(lines)
    assert {f"[1,{rank}]<stdout>:rank {rank} on host 1" for rank in (2, 3)} <= set(lines)
