"""A model trained on two hosts by the real torchrun: run by ``scripts/torch``, which says what the image needs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from clary import checkpoint, current_run, flow

HOSTS = {"instance_type": "ml.c5.xlarge", "instance_count": 2, "volume_size_in_gb": 5}
PROCESSES = 2
PATIENCE = 300.0


@checkpoint(runtime="isolated", resources=HOSTS, distribution={"torchrun": PROCESSES})
def fit(steps: int, fail_on: int = -1) -> dict[str, Any]:
    """Train from different weights on different numbers: only a gradient that all share makes and keeps them equal."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    if rank == fail_on:
        raise ValueError(f"rank {rank} does not want to")
    torch.manual_seed(rank)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    mine = model.module.weight.data
    all_weights = [torch.zeros_like(mine) for _ in range(world)]
    distributed.all_gather(all_weights, mine)
    distributed.destroy_process_group()
    equal = all(torch.equal(one, mine) for one in all_weights)
    print(f"rank {rank} of {world} on {current_run().hosts[current_run().rank]}", flush=True)
    return {"world": world, "rank": rank, "equal": equal, "weight": mine}


@flow
def trains(steps: int = 3, fail_on: int = -1) -> dict[str, Any]:
    """Return what the first process of the first host says of the training."""
    found = fit(steps, fail_on)
    return {**found, "weight": list(found["weight"].shape)}


def main(requirements: list[str]) -> None:
    """Train once, and once with a process that fails."""
    from clary import testing  # here, since the jobs, which import this file too, have none of it
    from clary.agent import service
    from clary.stacks.model import Stack

    os.environ.update(AWS_ACCESS_KEY_ID="sandbox", AWS_SECRET_ACCESS_KEY="sandbox")
    with tempfile.TemporaryDirectory() as home, testing.sandbox(requirements=requirements) as running:
        os.environ["CLARY_HOME"] = home
        stack = Stack(
            name="torch",
            type="sagemaker",
            artifact_store=f"s3://{running.bucket}/torch",
            region=running.region,
            execution_role=running.role,
            container_registry=running.image.split("/")[0],
            image=running.image,
            endpoint_url=running.endpoint,
        )
        begun = [
            service.start(service.load_target(f"{Path(__file__)}:trains"), {"fail_on": one}, stack).id
            for one in (-1, 3)
        ]
        trained, failed = (service.wait(stack, run, PATIENCE) for run in begun)
        assert trained.status == "completed", trained.failure
        found = service.result(stack, trained.id)
        assert found == {"world": 2 * PROCESSES, "rank": 0, "equal": True, "weight": [1, 4]}, found
        lines = {line for _, _, line in service.logs(stack, trained.id, follow=False)}
        assert {f"rank {rank} of 4 on algo-{rank // PROCESSES + 1}" for rank in range(4)} <= lines, lines
        assert failed.status == "failed"
        assert failed.failure is not None
        assert "rank 3 does not want to" in failed.failure.summary, failed.failure
    print("torchrun: fine")


if __name__ == "__main__":
    main(sys.argv[1:])
