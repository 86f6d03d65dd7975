"""What users write: flows and checkpoints. Runs inside the job: standard library only."""

from clary.engine.caching import Cache
from clary.engine.futures import CallFuture, CallFutures, as_completed
from clary.engine.retry import Retries
from clary.flows.checkpoint import Checkpoint, checkpoint
from clary.flows.context import RunContext, current_run, load, log, save
from clary.flows.flow import Flow, FlowOptions, flow
from clary.flows.handles import RunHandle
from clary.flows.stacks import configure, create_stack, current_stack, delete_stack, list_stacks, use_stack
from clary.flows.telling import progress
from clary.flows.waiting import sleep, sleep_async, wait, wait_async

__all__ = [
    "Cache",
    "CallFuture",
    "CallFutures",
    "Checkpoint",
    "Flow",
    "FlowOptions",
    "Retries",
    "RunContext",
    "RunHandle",
    "as_completed",
    "checkpoint",
    "configure",
    "create_stack",
    "current_run",
    "current_stack",
    "delete_stack",
    "flow",
    "list_stacks",
    "load",
    "log",
    "progress",
    "save",
    "sleep",
    "sleep_async",
    "use_stack",
    "wait",
    "wait_async",
]
