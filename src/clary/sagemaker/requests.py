"""From settings and the code to run to a whole CreateTrainingJob request. Pure; ``validation.check`` judges it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, ValidationError
from clary.ids import is_id
from clary.sagemaker.settings_layers import merge, without_none
from clary.sagemaker.settings_limits import RESERVED_PREFIX
from clary.sagemaker.settings_model import SPOT_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.sagemaker.settings_model import Channel, JobSettings

LONGEST_NAME = 63
"""Characters of TrainingJobName. Source: the service model."""


@dataclass(frozen=True, kw_only=True)
class JobCode:
    """What a job runs, and with what."""

    image: str
    output_s3_uri: str
    """Where the job's output goes unless ``output_data`` says otherwise."""
    entrypoint: tuple[str, ...] = ()
    """Empty: the image's own, called with the word ``train``."""
    arguments: tuple[str, ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    """(channel name, S3 address): an object, every object under a prefix, or those that an object named ``*.manifest``
    lists, at /opt/ml/input/data/<name>."""
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the runtime itself; they win over those of the settings."""


def job_name(flow: str, run_id: str, attempt: int) -> str:
    """Return the name of a run's job: the same for the same run and attempt, different for any other.

    ``<flow's slug>-<run id>-<attempt>``, in lower case, at most 63 characters; the slug is what is cut.
    Raises ValueError when ``run_id`` is no run id or ``attempt`` is not positive.
    """
    if not is_id(run_id) or attempt < 1:
        raise ValueError(f"no run and attempt: {run_id!r}, {attempt}")
    tail = f"{run_id.lower()}-{attempt}"
    plain = unicodedata.normalize("NFKD", flow.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[: LONGEST_NAME - len(tail) - 1].strip("-")
    return f"{slug}-{tail}" if slug else tail


def training_request(name: str, settings: JobSettings, code: JobCode) -> dict[str, Any]:
    """Return the CreateTrainingJob request called ``name``: what was set, the defaults of the settings, no more.

    Raises ConfigError ``sagemaker.no_role`` without an execution role, ValidationError ``sagemaker.reserved_setting``
    when the settings change what Clary needs in the request.
    """
    if not settings.execution_role:
        raise ConfigError(
            "sagemaker.no_role",
            "No execution role is set: a SageMaker job needs a role to run with.",
            next_step="Name it in the stack (--execution-role ARN) or in the settings (execution_role).",
            field="execution_role",
        )
    request = built(name, settings, code)
    for path in changed(name, request, settings, code):
        raise ValidationError(
            "sagemaker.reserved_setting",
            f"The setting {path} is Clary's own.",
            next_step=instead_of(path),
            field=path,
        )
    return request


def built(name: str, settings: JobSettings, code: JobCode) -> dict[str, Any]:
    """Return the request that the settings make, whatever is wrong with it."""
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": settings.execution_role,
        "AlgorithmSpecification": _algorithm(settings, code),
        "OutputDataConfig": _present(
            S3OutputPath=settings.output_data or code.output_s3_uri, KmsKeyId=settings.output_kms_key
        ),
        "ResourceConfig": _resources(settings),
        "StoppingCondition": _stopping(settings),
        # Said aloud, for some defaults of the service turn it on, and its rules are billed as jobs of their own.
        "ProfilerConfig": {"DisableProfiler": True},
        **_present(
            HyperParameters=dict(code.hyperparameters),
            Environment={**settings.environment, **code.environment},
            InputDataConfig=[
                *(_own_channel(*channel) for channel in code.channels),
                *(_channel(name, channel, settings.input_mode) for name, channel in settings.input_data.items()),
            ],
            Tags=[{"Key": key, "Value": value} for key, value in settings.tags.items()],
            VpcConfig=_present(SecurityGroupIds=list(settings.security_group_ids), Subnets=list(settings.subnets)),
            CheckpointConfig=_present(S3Uri=settings.checkpoint_s3_uri, LocalPath=settings.checkpoint_local_path),
            RetryStrategy=_present(MaximumRetryAttempts=settings.max_retry_attempts),
            RemoteDebugConfig=_present(EnableRemoteDebug=settings.enable_remote_debug or None),
            InfraCheckConfig=_present(EnableInfraCheck=settings.enable_infra_check or None),
            EnableManagedSpotTraining=settings.use_spot or None,
            EnableNetworkIsolation=settings.enable_network_isolation or None,
            EnableInterContainerTrafficEncryption=settings.encrypt_inter_container_traffic or None,
        ),
    }
    return without_none(merge(request, settings.request))


def _algorithm(settings: JobSettings, code: JobCode) -> dict[str, Any]:
    metrics = [{"Name": name, "Regex": regex} for name, regex in settings.metric_definitions.items()]
    credentials = settings.registry_credentials_lambda
    return {
        "TrainingImage": code.image,
        "TrainingInputMode": "File",  # of the channels that say nothing else: the runtime's and the code's
        **_present(
            TrainingImageConfig=_present(
                TrainingRepositoryAccessMode=settings.registry_access,
                TrainingRepositoryAuthConfig=_present(TrainingRepositoryCredentialsProviderArn=credentials),
            ),
            ContainerEntrypoint=list(code.entrypoint),
            ContainerArguments=list(code.arguments),
            MetricDefinitions=metrics,
        ),
    }


def _resources(settings: JobSettings) -> dict[str, Any]:
    types = [{"InstanceType": name} for name in settings.instance_type]
    return {
        **(types[0] if len(types) == 1 else _present(InstancePreferences=types)),
        "InstanceCount": settings.instance_count,
        "VolumeSizeInGB": settings.volume_size_in_gb,
        **_present(
            VolumeKmsKeyId=settings.volume_kms_key,
            KeepAlivePeriodInSeconds=settings.keep_alive_period_in_seconds,
            TrainingPlanArn=settings.training_plan,
        ),
    }


def _stopping(settings: JobSettings) -> dict[str, Any]:
    wait = settings.max_wait_in_seconds
    if settings.use_spot and wait is None:
        wait = settings.max_runtime_in_seconds + SPOT_WAIT
    return {
        "MaxRuntimeInSeconds": settings.max_runtime_in_seconds,
        **_present(MaxWaitTimeInSeconds=wait, MaxPendingTimeInSeconds=settings.max_pending_time_in_seconds),
    }


def _own_channel(name: str, address: str) -> dict[str, Any]:
    kind = "ManifestFile" if address.endswith(".manifest") else "S3Prefix"
    source = {"S3DataType": kind, "S3Uri": address, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _channel(name: str, channel: Channel, usual: str) -> dict[str, Any]:
    source = {
        "S3DataType": channel.data_type,
        "S3Uri": channel.uri,
        "S3DataDistributionType": channel.distribution,
        **_present(AttributeNames=list(channel.attribute_names)),
    }
    mode = channel.mode or usual
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        **_present(
            InputMode=None if mode == "File" else mode,
            ContentType=channel.content_type,
            CompressionType=channel.compression,
        ),
    }


def _present(**members: Any) -> dict[str, Any]:
    """Return the members that are set: an empty list or object would be refused, or would mean something."""
    return {name: value for name, value in members.items() if value is not None and value not in ([], {}, "")}


def instead_of(path: str) -> str:
    """Return what to do instead of changing the setting at ``path``, which is Clary's own."""
    if path == "request.InputDataConfig":
        return "Name further channels in input_data."
    return f"Leave {path} out."


def changed(name: str, request: Mapping[str, Any], settings: JobSettings, code: JobCode) -> Iterator[str]:
    """Yield the settings that change what Clary needs: the name, its variables and its channels. The rest is free."""
    for variable in settings.environment:
        if variable.upper().startswith(RESERVED_PREFIX):
            yield f"environment.{variable}"
    if request.get("TrainingJobName") != name:
        yield "request.TrainingJobName"
    variables = request.get("Environment")
    for variable, value in code.environment.items():
        if not isinstance(variables, Mapping) or variables.get(variable) != value:
            yield f"request.Environment.{variable}"
    channels = request.get("InputDataConfig")
    for channel in code.channels:
        if not isinstance(channels, list) or _own_channel(*channel) not in channels:
            yield "request.InputDataConfig"
