"""A sandbox whose jobs do nothing, for tests of the front; and one that really runs jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from clary import testing
from clary.sandbox import api
from clary.testing import clary_sandbox  # noqa: F401 - a fixture

_TESTS = Path(__file__).parents[2]


@contextmanager
def _idle_program() -> Iterator[None]:
    program, path = api._PROGRAM, os.environ.get("PYTHONPATH")
    api._PROGRAM = "integration.sandbox.double"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_TESTS), *([path] if path else [])])
    try:
        yield
    finally:
        api._PROGRAM = program
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


@pytest.fixture(scope="module")
def idle() -> Iterator[testing.Sandbox]:
    """A sandbox for the module's tests, without API rates."""
    with ExitStack() as stack:
        with _idle_program():  # only for its start: another sandbox of the module may be started again meanwhile
            running = stack.enter_context(testing.sandbox(enforce_rates=False))
        yield running


@pytest.fixture
def own_idle() -> Iterator[testing.Sandbox]:
    """A sandbox for one test alone, with API rates."""
    with _idle_program(), testing.sandbox() as running:
        yield running


@pytest.fixture(autouse=True)
def no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget faults that a test planned on the shared sandbox."""
    yield
    if "idle" in request.fixturenames:
        request.getfixturevalue("idle").faults.clear()


@pytest.fixture
def training_request(idle: testing.Sandbox) -> Callable[..., dict[str, Any]]:
    """Make a valid CreateTrainingJob request."""
    return lambda name, **changes: make_training_request(idle, name, **changes)


def make_training_request(running: testing.Sandbox, name: str, **changes: Any) -> dict[str, Any]:
    request = {
        "TrainingJobName": name,
        "RoleArn": running.role,
        "AlgorithmSpecification": {"TrainingImage": running.image, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{running.bucket}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return {key: value for key, value in (request | changes).items() if value is not None}


def make_processing_request(running: testing.Sandbox, name: str, **changes: Any) -> dict[str, Any]:
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    request = {
        "ProcessingJobName": name,
        "RoleArn": running.role,
        "AppSpecification": {"ImageUri": running.image},
        "ProcessingResources": {"ClusterConfig": cluster},
    }
    return request | changes
