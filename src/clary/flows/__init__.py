"""What users write: flows and checkpoints. Runs inside the job: standard library only."""

from clary.engine.futures import CallFuture, CallFutures, as_completed
from clary.flows.checkpoint import Checkpoint, checkpoint
from clary.flows.context import RunContext, current_run, load, log, save
from clary.flows.flow import Flow, FlowOptions, RunHandle, flow

__all__ = [
    "CallFuture",
    "CallFutures",
    "Checkpoint",
    "Flow",
    "FlowOptions",
    "RunContext",
    "RunHandle",
    "as_completed",
    "checkpoint",
    "current_run",
    "flow",
    "load",
    "log",
    "save",
]
