"""A stand-in for PyTorch's launcher (torch itself is 200 MB and more): the options that Clary gives, the variables of

"torchrun (Elastic Launch)", Environment Variables, in PyTorch's documentation. The hosts meet first, as they do there.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time


def main() -> int:
    """Meet the other hosts, start the workers, and end with the first failure."""
    parser = argparse.ArgumentParser()
    for name in ("--nnodes", "--node_rank", "--nproc_per_node", "--master_port"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--master_addr", required=True)
    parser.add_argument("--module", required=True)
    told = parser.parse_args()
    _meet(told)
    workers = []
    for local in range(told.nproc_per_node):
        own = {
            "RANK": told.node_rank * told.nproc_per_node + local,
            "WORLD_SIZE": told.nnodes * told.nproc_per_node,
            "LOCAL_RANK": local,
            "LOCAL_WORLD_SIZE": told.nproc_per_node,
            "NODE_RANK": told.node_rank,
            "MASTER_ADDR": told.master_addr,
            "MASTER_PORT": told.master_port,
            "STAND_IN": "torchrun",
        }
        variables = {**os.environ, **{name: str(value) for name, value in own.items()}}
        workers.append(subprocess.Popen([sys.executable, "-m", told.module], env=variables))
    return max(worker.wait() for worker in workers)


def _meet(told: argparse.Namespace) -> None:
    if told.node_rank == 0:
        with socket.create_server(("", told.master_port)) as server:
            for _ in range(told.nnodes - 1):
                server.accept()[0].close()
        return
    for _ in range(200):
        try:
            socket.create_connection((told.master_addr, told.master_port)).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the first host does not listen")


if __name__ == "__main__":
    sys.exit(main())
