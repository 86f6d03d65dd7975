"""The shapes of ZenML's dynamic pipelines over Clary's flows: ``@step``, ``@pipeline(dynamic=True)``, artifacts.

A dynamic pipeline runs here once ``from zenml import …`` reads ``from clary.zenml import …``. Static pipelines, whose
body is traced into a graph, have no place yet; ``docs/how-to/migrate-from-zenml.md`` says what becomes of each name.
Runs inside the job: standard library only.
"""

from __future__ import annotations

import logging
from typing import Any

from clary.kitaru.handles import unmapped
from clary.zenml.context import StepContext, get_step_context, load_artifact, log_metadata, save_artifact, wait
from clary.zenml.options import StepRetryConfig, StepRuntime
from clary.zenml.pipelines import PipelineDefinition, pipeline
from clary.zenml.runs import ExecutionStatus, PipelineRun
from clary.zenml.settings import DockerSettings, ResourceSettings, SagemakerOrchestratorSettings
from clary.zenml.steps import StepDefinition, step

get_logger = logging.getLogger

__all__ = [
    "DockerSettings",
    "ExecutionStatus",
    "PipelineDefinition",
    "PipelineRun",
    "ResourceSettings",
    "SagemakerOrchestratorSettings",
    "StepContext",
    "StepDefinition",
    "StepRetryConfig",
    "StepRuntime",
    "get_logger",
    "get_step_context",
    "load_artifact",
    "log_metadata",
    "pipeline",
    "save_artifact",
    "step",
    "unmapped",
    "wait",
]


def __getattr__(name: str) -> Any:
    from clary.zenml.missing import REASONS

    if name in REASONS:
        from clary.zenml.options import refuse

        refuse(f"zenml.{name}", *REASONS[name])
    raise AttributeError(f"module 'clary.zenml' has no attribute {name!r}")
