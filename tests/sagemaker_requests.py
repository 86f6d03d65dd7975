"""Requests that break no limit, for tests to change one thing in."""

from __future__ import annotations

import copy
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/service-role/Runner"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/clary-sandbox/python:3.11"

_TRAINING: dict[str, Any] = {
    "TrainingJobName": "digits-01",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "-m", "app"],
        "ContainerArguments": ["--run", "1"],
        "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}],
    },
    "HyperParameters": {"depth": "3"},
    "InputDataConfig": [
        {
            "ChannelName": "code",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/code/"}},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "Environment": {"CLARY_RUN": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "CLARY_ATTEMPT": "1"},
    "Tags": [{"Key": "team", "Value": "größe 1"}],
    "ProfilerConfig": {"DisableProfiler": True},
}

_PROCESSING: dict[str, Any] = {
    "ProcessingJobName": "tidy-01",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3"], "ContainerArguments": ["tidy.py"]},
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}},
    "ProcessingInputs": [
        {
            "InputName": "raw",
            "S3Input": {
                "S3Uri": "s3://bucket/raw",
                "LocalPath": "/opt/ml/processing/input/raw",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "tidy",
                "S3Output": {
                    "S3Uri": "s3://bucket/tidy",
                    "LocalPath": "/opt/ml/processing/output/tidy",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "Environment": {"MODE": "fast"},
}

_BY_OPERATION = {"CreateTrainingJob": _TRAINING, "CreateProcessingJob": _PROCESSING}


def good_request(operation: str = "CreateTrainingJob") -> dict[str, Any]:
    """Return a fresh request that breaks no limit."""
    return copy.deepcopy(_BY_OPERATION[operation])


def put(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Set what ``path`` names (``A.B.0.C``; numbers are positions in lists), and return the request."""
    *parents, last = path.split(".")
    inner: Any = request
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    if isinstance(inner, list):
        inner[int(last)] = value
    else:
        inner[last] = value
    return request


def drop(request: dict[str, Any], path: str) -> dict[str, Any]:
    """Remove what ``path`` names, and return the request."""
    *parents, last = path.split(".")
    inner: Any = request
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    del inner[last]
    return request
