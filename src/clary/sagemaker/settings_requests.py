"""What SageMaker would say of a request, said of the settings that made it.

``sagemaker.validation`` speaks of ``ResourceConfig.InstanceCount``; a person has written ``instance_count``. Here each
path of a request is led back to the setting that gave the value there; what Clary put there itself keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.sagemaker import requests, validation
from clary.sagemaker.breaches import Place
from clary.sagemaker.findings import HIDDEN, Finding, Severity, errors_of, shown
from clary.sagemaker.requests import JobCode
from clary.sagemaker.settings_limits import RESERVED_CHANNELS

if TYPE_CHECKING:
    from clary.sagemaker.settings_model import JobSettings

OPERATION = "CreateTrainingJob"
_RESOURCES, _STOPPING, _ALGORITHM = "ResourceConfig", "StoppingCondition", "AlgorithmSpecification"
_REGISTRY = f"{_ALGORITHM}.TrainingImageConfig"
MEMBERS: Mapping[str, str] = {
    f"{_RESOURCES}.InstanceType": "instance_type",
    f"{_RESOURCES}.InstancePreferences": "instance_type",
    f"{_RESOURCES}.InstanceCount": "instance_count",
    f"{_RESOURCES}.VolumeSizeInGB": "volume_size_in_gb",
    f"{_RESOURCES}.VolumeKmsKeyId": "volume_kms_key",
    f"{_RESOURCES}.KeepAlivePeriodInSeconds": "keep_alive_period_in_seconds",
    f"{_RESOURCES}.TrainingPlanArn": "training_plan",
    f"{_STOPPING}.MaxRuntimeInSeconds": "max_runtime_in_seconds",
    f"{_STOPPING}.MaxWaitTimeInSeconds": "max_wait_in_seconds",
    f"{_STOPPING}.MaxPendingTimeInSeconds": "max_pending_time_in_seconds",
    "RetryStrategy.MaximumRetryAttempts": "max_retry_attempts",
    "RoleArn": "execution_role",
    "Tags": "tags",
    "EnableManagedSpotTraining": "use_spot",
    "VpcConfig": "subnets",
    "VpcConfig.Subnets": "subnets",
    "VpcConfig.SecurityGroupIds": "security_group_ids",
    "EnableNetworkIsolation": "enable_network_isolation",
    "EnableInterContainerTrafficEncryption": "encrypt_inter_container_traffic",
    "OutputDataConfig.S3OutputPath": "output_data",
    "OutputDataConfig.KmsKeyId": "output_kms_key",
    "InputDataConfig": "input_data",
    "CheckpointConfig": "checkpoint_s3_uri",
    "CheckpointConfig.S3Uri": "checkpoint_s3_uri",
    "CheckpointConfig.LocalPath": "checkpoint_local_path",
    "Environment": "environment",
    f"{_ALGORITHM}.MetricDefinitions": "metric_definitions",
    f"{_REGISTRY}.TrainingRepositoryAccessMode": "registry_access",
    f"{_REGISTRY}.TrainingRepositoryAuthConfig": "registry_credentials_lambda",
    f"{_REGISTRY}.TrainingRepositoryAuthConfig.TrainingRepositoryCredentialsProviderArn": (
        "registry_credentials_lambda"
    ),
    "RemoteDebugConfig.EnableRemoteDebug": "enable_remote_debug",
    "InfraCheckConfig.EnableInfraCheck": "enable_infra_check",
}
"""Members of CreateTrainingJob to the setting behind them; also where the reference page has its third column from."""
_CHANNEL_MEMBERS = {
    "ChannelName": "",
    "DataSource.S3DataSource.S3Uri": ".uri",
    "DataSource.S3DataSource.S3DataType": ".data_type",
    "DataSource.S3DataSource.S3DataDistributionType": ".distribution",
    "DataSource.S3DataSource.AttributeNames": ".attribute_names",
    "InputMode": ".mode",
    "ContentType": ".content_type",
    "CompressionType": ".compression",
}
_FIRST = re.compile(r"\w+")
_LAST = re.compile(r"(\.[\w-]+|\[[^\]]*\])$")

# Stand-ins of the right form for what the settings do not say.
_PROBE_NAME = "probe"
_PROBE_ROLE = "arn:aws:iam::123456789012:role/Role"
_PROBE_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:tag"
_PROBE_OUTPUT = "s3://bucket/runs"


def findings(request: Mapping[str, Any], settings: JobSettings, code: JobCode) -> list[Finding]:
    """Return what is wrong with a request, in terms of the settings; ``request`` is what the other two made."""
    sources = _sources(settings, code)
    found = []
    for finding in validation.validate(OPERATION, request):
        if _setting(finding.path, sources) is None and _foreign(settings, finding):
            found.append(_renamed(finding, {finding.path: f"request.{finding.path}"}))
        else:
            found.append(_renamed(finding, sources))
    return found


def probe_findings(settings: JobSettings, *, flow: bool) -> list[Finding]:
    """Return what is wrong with any request that the settings make; a ``flow`` adds its own channels and variables."""
    code = JobCode(
        image=_PROBE_IMAGE,
        output_s3_uri=_PROBE_OUTPUT,
        channels=tuple((name, f"{_PROBE_OUTPUT}/{name}/") for name in RESERVED_CHANNELS) if flow else (),
        environment={"CLARY_RUN": "{}", "CLARY_ATTEMPT": "1"} if flow else {},
    )
    request = {"RoleArn": _PROBE_ROLE, **requests.built(_PROBE_NAME, settings, code)}
    found = [_reserved(path) for path in requests.changed(_PROBE_NAME, request, settings, code)]
    found += findings(request, settings, code)
    # A flow's progress is in its record; of a plain container the settings' own rule speaks.
    return [finding for finding in found if finding.path != "checkpoint_s3_uri" or finding.severity is Severity.ERROR]


def _reserved(path: str) -> Finding:
    return Finding(path, "(not shown)", "left alone", f"{path} is Clary's own.", requests.instead_of(path))


def check(request: Mapping[str, Any], settings: JobSettings, code: JobCode) -> list[Finding]:
    """Return the warnings about a request.

    Raises ValidationError ``sagemaker.invalid_request`` when anything breaks a limit: ``field`` is the first path,
    ``details["findings"]`` holds every error.
    """
    found = findings(request, settings, code)
    if errors := errors_of(found):
        raise validation.refusal(OPERATION, errors)
    return [finding for finding in found if finding.path != "checkpoint_s3_uri"]


def _sources(settings: JobSettings, code: JobCode) -> dict[str, str]:
    """Return the paths of the request that the settings have filled, each with the setting that did."""
    sources = {**MEMBERS, **dict(_entries(settings, code))}
    if settings.output_data is None:
        del sources["OutputDataConfig.S3OutputPath"]
    for path in _leaves(settings.request, ""):
        sources = {known: name for known, name in sources.items() if known != path and not _below(known, path)}
        sources[path] = f"request.{path}"
    return sources


def _foreign(settings: JobSettings, finding: Finding) -> bool:
    """Tell whether a finding is about a member that only ``request`` has brought in."""
    found = _FIRST.match(finding.path)
    return found is not None and found[0] in settings.request


def _entries(settings: JobSettings, code: JobCode) -> Iterator[tuple[str, str]]:
    for index, _ in enumerate(settings.instance_type):
        yield f"{_RESOURCES}.InstancePreferences[{index}]", f"instance_type[{index}]"
    for member, name in (("Subnets", "subnets"), ("SecurityGroupIds", "security_group_ids")):
        for index, _ in enumerate(getattr(settings, name)):
            yield f"VpcConfig.{member}[{index}]", f"{name}[{index}]"
    for index, key in enumerate(settings.tags):
        yield f"Tags[{index}]", f"tags.{key}"
    for index, name in enumerate(settings.metric_definitions):
        yield f"{_ALGORITHM}.MetricDefinitions[{index}]", f"metric_definitions.{name}"
    for name in settings.environment:
        yield Place("Environment", "").entry(name).path, Place("environment", "").entry(name).path
    for index, name in enumerate(settings.input_data, start=len(code.channels)):
        yield f"InputDataConfig[{index}]", f"input_data.{name}"
        for member, ours in _CHANNEL_MEMBERS.items():
            yield f"InputDataConfig[{index}].{member}", f"input_data.{name}{ours}"
    for index, _ in enumerate(code.channels):
        yield f"InputDataConfig[{index}]", f"InputDataConfig[{index}]"  # ours, and of no setting
    for name in code.environment:
        yield f"Environment.{name}", f"Environment.{name}"


def _leaves(tree: Mapping[str, Any], at: str) -> Iterator[str]:
    for name, value in tree.items():
        path = f"{at}.{name}" if at else str(name)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path


def _below(path: str, above: str) -> bool:
    return path.startswith((f"{above}.", f"{above}["))


def _renamed(finding: Finding, sources: Mapping[str, str]) -> Finding:
    """Return the finding with names of settings in place of the API's, in its path and in what it says."""
    path = _setting(finding.path, sources)
    value, message = finding.value, finding.message
    if path and shown("", name=path) == HIDDEN:  # the API's own name (Value) did not tell that it is a secret
        value, message = HIDDEN, message.replace(f"'{value}'", HIDDEN)
    words = {finding.path: path} if path else {}
    # Other members that a sentence names are called by their last part, and only what the settings wrote is ours.
    words |= {known.rpartition(".")[2]: name for known, name in sources.items() if MEMBERS.get(known) == name}
    words |= {known: name for known, name in sources.items() if MEMBERS.get(known) == name}
    return replace(
        finding,
        path=path or finding.path,
        value=value,
        limit=_replaced(finding.limit, words),
        message=_replaced(message, words),
        next_step=_replaced(finding.next_step, words),
    )


def _setting(path: str, sources: Mapping[str, str]) -> str | None:
    """Return the setting behind a path of the request, or behind what holds it."""
    holder = path
    while holder not in sources:
        shorter = _LAST.sub("", holder)
        if shorter == holder:
            return None
        holder = shorter
    setting = sources[holder]
    return setting + path.removeprefix(holder) if setting.startswith("request.") else setting


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """Return the text with the words replaced; what stands in quotes is somebody's value and stays."""
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"'[^']*'|(?<![\w.])({known})(?!\w)")
    return pattern.sub(lambda found: words[found[1]] if found[1] else found[0], text)
