"""The shapes of Kitaru 0.21 over Clary's flows: handles, ``FlowHandle``, and its names.

A project that was written for Kitaru up to 0.21 runs here once ``from kitaru import …`` reads ``from clary.kitaru
import …``. What has no place here is refused with the way out (``docs/how-to/migrate-from-kitaru.md``). Flows of
``clary`` itself need none of it: there a checkpoint returns its value. Runs inside the job: standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.kitaru import events
from clary.kitaru.checkpoints import checkpoint
from clary.kitaru.context import (
    ReplayRuntimeContext,
    current_execution_id,
    get_replay_runtime_context,
    is_replay,
    llm,
    load,
    log,
    save,
    wait,
)
from clary.kitaru.errors import (
    FailureOrigin,
    KitaruAmbiguousFlowResultError,
    KitaruBackendError,
    KitaruContextError,
    KitaruDivergenceError,
    KitaruError,
    KitaruExecutionError,
    KitaruFeatureNotAvailableError,
    KitaruLogRetrievalError,
    KitaruRuntimeError,
    KitaruStackIntegrationDependencyError,
    KitaruStateError,
    KitaruTimeoutError,
    KitaruUsageError,
    KitaruUserCodeError,
    KitaruWaitValidationError,
)
from clary.kitaru.events import progress
from clary.kitaru.flows import FlowHandle, flow
from clary.kitaru.handles import unmapped
from clary.kitaru.images import ImageSettings
from clary.kitaru.stacks import (
    KitaruConfig,
    Secret,
    SecretSummary,
    StackInfo,
    configure,
    connect,
    create_secret,
    create_stack,
    current_stack,
    delete_secret,
    delete_stack,
    get_secret,
    list_secrets,
    list_stacks,
    use_stack,
)
from clary.kitaru.statuses import ExecutionStatus

if TYPE_CHECKING:
    from clary.kitaru.client import KitaruClient
    from clary.kitaru.replays import ReplaySubmission

__all__ = [
    "ExecutionStatistics",
    "ExecutionStatisticsDimension",
    "ExecutionStatisticsGroup",
    "ExecutionStatisticsGrouping",
    "ExecutionStatisticsMetric",
    "ExecutionStatisticsMetricAggregation",
    "ExecutionStatisticsMetricSource",
    "ExecutionStatisticsTimeGranularity",
    "ExecutionStatus",
    "FailureOrigin",
    "FlowHandle",
    "ImageSettings",
    "KitaruAmbiguousFlowResultError",
    "KitaruBackendError",
    "KitaruClient",
    "KitaruConfig",
    "KitaruContextError",
    "KitaruDivergenceError",
    "KitaruError",
    "KitaruExecutionError",
    "KitaruFeatureNotAvailableError",
    "KitaruLogRetrievalError",
    "KitaruRuntimeError",
    "KitaruStackIntegrationDependencyError",
    "KitaruStateError",
    "KitaruTimeoutError",
    "KitaruUsageError",
    "KitaruUserCodeError",
    "KitaruWaitValidationError",
    "ReplayRuntimeContext",
    "ReplaySubmission",
    "Secret",
    "SecretSummary",
    "StackInfo",
    "checkpoint",
    "configure",
    "connect",
    "create_secret",
    "create_stack",
    "current_execution_id",
    "current_stack",
    "delete_secret",
    "delete_stack",
    "events",
    "flow",
    "get_replay_runtime_context",
    "get_secret",
    "is_replay",
    "list_secrets",
    "list_stacks",
    "llm",
    "load",
    "log",
    "progress",
    "save",
    "unmapped",
    "use_stack",
    "wait",
]

_LATER = {"KitaruClient": "client", "ReplaySubmission": "replays"}
"""Names whose modules are imported when they are used."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(name)
    place = "statistics" if name.startswith("ExecutionStatistics") else _LATER.get(name)
    if place is not None:
        return getattr(import_module(f"clary.kitaru.{place}"), name)
    from clary.kitaru.missing import REASONS

    if name in REASONS:
        from clary.kitaru.checkpoints import refuse

        refuse(f"kitaru.{name}", *REASONS[name])
    raise AttributeError(f"module 'clary.kitaru' has no attribute {name!r}")
