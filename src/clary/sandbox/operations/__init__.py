"""The operations that the sandbox answers itself: SageMaker's on jobs and tags, and Service Quotas'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clary.sagemaker.findings import service_message
from clary.sagemaker.validation import validate
from clary.sandbox.operations.context import Caller, Platform
from clary.sandbox.operations.processing import (
    create_processing_job,
    describe_processing_job,
    list_processing_jobs,
    stop_processing_job,
)
from clary.sandbox.operations.servicequotas import get_service_quota, list_service_quotas
from clary.sandbox.operations.tags import add_tags, delete_tags, list_tags
from clary.sandbox.operations.training import (
    create_training_job,
    delete_training_job,
    describe_training_job,
    list_training_jobs,
    stop_training_job,
    update_training_job,
)
from clary.sandbox.wire import ApiError

SAGEMAKER = "SageMaker"
SERVICE_QUOTAS = "ServiceQuotasV20190624"
"""The target prefixes of the two services."""

Operation = Callable[[Platform, Caller, Mapping[str, Any]], dict[str, Any]]

OPERATIONS: Mapping[str, Mapping[str, Operation]] = {
    SAGEMAKER: {
        "AddTags": add_tags,
        "CreateProcessingJob": create_processing_job,
        "CreateTrainingJob": create_training_job,
        "DeleteTags": delete_tags,
        "DeleteTrainingJob": delete_training_job,
        "DescribeProcessingJob": describe_processing_job,
        "DescribeTrainingJob": describe_training_job,
        "ListProcessingJobs": list_processing_jobs,
        "ListTags": list_tags,
        "ListTrainingJobs": list_training_jobs,
        "StopProcessingJob": stop_processing_job,
        "StopTrainingJob": stop_training_job,
        "UpdateTrainingJob": update_training_job,
    },
    SERVICE_QUOTAS: {
        "GetServiceQuota": get_service_quota,
        "ListServiceQuotas": list_service_quotas,
    },
}
"""Every operation by target prefix and name."""


def answer(platform: Platform, caller: Caller, target: str, document: Any) -> dict[str, Any]:
    """Answer one request; raises ApiError with the service's refusal."""
    prefix, _, name = target.partition(".")
    operation = OPERATIONS[prefix].get(name)
    if operation is None:
        raise ApiError("UnknownOperationException", f"The sandbox does not offer {name}.", status=404)
    if not isinstance(document, dict):
        raise ApiError("SerializationException", "The body is not a JSON object.")
    if prefix == SAGEMAKER:
        message = service_message(validate(name, document))
        if message:
            raise ApiError("ValidationException", message)
    return operation(platform, caller, document)
