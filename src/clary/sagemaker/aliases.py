"""The names of settings: ours, and those that people bring from ZenML, Kitaru and the SageMaker SDK.

Every name has one of three fates: it is ours, it is another name of one of ours, or it is refused with what to use
instead. Nothing is swallowed. Hyphens may stand for underscores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clary.errors import nearest
from clary.sagemaker.findings import Finding, Kind, shown
from clary.sagemaker.settings_model import NAMES

DEFAULT_CHANNEL = "training"
"""The channel of input data that was given as one address."""

ALIASES: Mapping[str, str] = {
    "processor_role": "execution_role",
    "processor_tags": "tags",
    "use_spot_instances": "use_spot",
    "spot": "use_spot",
    "max_wait": "max_wait_in_seconds",
    "input_data_s3_uri": "input_data",
    "input_data_s3_mode": "input_mode",
    "output_data_s3_uri": "output_data",
    "bucket": "output_data",
}
"""Other names of settings. ``bucket`` is the bare name of a bucket."""

SDK_ALIASES: Mapping[str, str] = {
    **{name: name for name in NAMES if name not in ("request", "input_data", "output_data")},
    "use_spot_instances": "use_spot",
    "max_wait": "max_wait_in_seconds",
    "max_run": "max_runtime_in_seconds",
    "max_runtime": "max_runtime_in_seconds",
    "role": "execution_role",
    "env": "environment",
    "volume_size": "volume_size_in_gb",
    "train_instance_count": "instance_count",
    "train_instance_type": "instance_type",
    "output_path": "output_data",
    "training_repository_access_mode": "registry_access",
    "training_repository_credentials_provider_arn": "registry_credentials_lambda",
}
"""Keywords of the SDK's Estimator and Processor (``estimator_args``, ``processor_args``) that are settings here."""
_NETWORK = ("subnets", "security_group_ids", "enable_network_isolation", "encrypt_inter_container_traffic")
_ARGUMENTS = ("estimator_args", "processor_args")

_BY_REQUEST = "Write it as {}."
SDK_REFUSED: Mapping[str, str] = {
    "image_uri": "The image is named by the flow (@flow(image=…)) or the stack.",
    "base_job_name": "Names of jobs are Clary's: by them a run finds its job again. Use tags.",
    "entrypoint": "Clary starts the container; the code is the flow's.",
    "container_entry_point": "Clary starts the container; the code is the flow's.",
    "container_arguments": "Clary starts the container; give inputs to the flow.",
    "hyperparameters": "Give inputs to the flow.",
    "sagemaker_session": "Region and credentials are the stack's.",
    "disable_profiler": "The profiler is off. To turn it on, write request.ProfilerConfig.",
    "profiler_config": _BY_REQUEST.format("request.ProfilerConfig"),
    "debugger_hook_config": _BY_REQUEST.format("request.DebugHookConfig"),
    "rules": _BY_REQUEST.format("request.DebugRuleConfigurations"),
    "tensorboard_output_config": _BY_REQUEST.format("request.TensorBoardOutputConfig"),
    "instance_groups": _BY_REQUEST.format("request.ResourceConfig.InstanceGroups"),
    "instance_placement_config": _BY_REQUEST.format("request.ResourceConfig.InstancePlacementConfig"),
    "enable_session_tag_chaining": _BY_REQUEST.format("request.SessionChainingConfig.EnableSessionTagChaining"),
}
"""Keywords of the SDK that are not settings here, with what to do instead."""

REFUSED: Mapping[str, str] = {
    "output_data_s3_mode": "A training job uploads at its end; for files during the run set checkpoint_s3_uri.",
    "pipeline_tags": "A run has no SageMaker pipeline; use tags for its job.",
    "synchronous": "It is a setting of the stack (--async), not of the job.",
    "region": "It is a field of the stack.",
    "scheduler_role": "It is a field of the stack.",
    "aws_profile": "Credentials are the stack's: --credentials aws-profile:NAME.",
    "aws_access_key_id": "Credentials are the stack's, and are named, never written: --credentials aws-profile:NAME.",
    "aws_secret_access_key": "Credentials are the stack's, and are named, never written: "
    "--credentials aws-profile:NAME.",
    "aws_auth_role_arn": "Credentials are the stack's: it can assume a role.",
    "image": "Write it beside the settings: @flow(image=…), or in the stack.",
}
"""Names that other tools have among these settings and that belong elsewhere here, with what to do instead."""


class _Names:
    """Gathers one layer's values under our names, and what was wrong with how they were named."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.values: dict[str, Any] = {}
        self.given: dict[str, str] = {}
        """How each setting was called, to say so when it is there twice."""
        self.findings: list[Finding] = []

    def put(self, name: str, value: Any, path: str) -> None:
        """Take the value of one of our settings, which was found at ``path``."""
        if name in self.given:
            self.refuse(
                path,
                f"{path} and {self.given[name]} are the same setting, given twice.",
                f"Keep one of them, best {name}.",
            )
            return
        self.given[name] = path
        self.values[name] = value

    def refuse(self, path: str, message: str, next_step: str) -> None:
        """Note what is wrong at ``path``."""
        limit = "a setting of a job"
        self.findings.append(
            Finding(path, "(not shown)", limit, message, next_step, kind=Kind.UNKNOWN_MEMBER, service_text="")
        )

    def unknown(self, path: str, name: str, known: Sequence[str], where: str) -> None:
        """Note a name that has no meaning here."""
        near = nearest(name, known)
        step = f"Did you mean {near}?" if near else f"{where} Anything else of CreateTrainingJob goes into request."
        self.refuse(path, f"{path} is not a setting of a job.", step)


def spellings() -> tuple[str, ...]:
    """Return every name that ``canonical`` has an answer for."""
    return tuple(dict.fromkeys([*NAMES, *ALIASES, *_ARGUMENTS, *_TOLD, *REFUSED]))


def canonical(values: Mapping[str, Any], at: str) -> tuple[dict[str, Any], list[Finding]]:
    """Return one layer's values under our names and in our forms, and a finding for each name that has no place.

    ``at`` is where the layer stands, for the paths of the findings. Values are not checked here.
    """
    names = _Names(at)
    for given, value in values.items():
        name, path = _spelt(given), f"{at}.{given}" if at else str(given)
        if name in NAMES:
            names.put(name, value, path)
        elif name in ALIASES:
            names.put(ALIASES[name], _bucket(value) if name == "bucket" else value, path)
        elif name in _ARGUMENTS:
            _arguments(names, name, value, path)
        elif name in _TOLD:
            _TOLD[name](names, value, path)
        elif name in REFUSED:
            names.refuse(path, f"{path} is not a setting of a job.", REFUSED[name])
        else:
            known = [*NAMES, *ALIASES, *_ARGUMENTS]
            names.unknown(path, name, known, "docs/reference/job-settings.md has all settings.")
    return {name: _formed(name, value) for name, value in names.values.items()}, names.findings


def _spelt(name: Any) -> str:
    return name.replace("-", "_") if isinstance(name, str) else repr(name)


def _training_step(names: _Names, value: Any, path: str) -> None:
    if value not in (None, True):
        names.refuse(
            path,
            f"{path} is {shown(value)}, but runs are training jobs only: processing jobs have no spot machines, no "
            "warm pools and no checkpoint folder.",
            f"Leave {path} out.",
        )


def _upload_mode(names: _Names, value: Any, path: str) -> None:
    if value not in (None, "EndOfJob"):
        names.refuse(path, f"{path} is {shown(value)}, which a training job cannot do.", REFUSED["output_data_s3_mode"])


# What is accepted where it says what is done anyway, and refused where it asks for something else.
_TOLD: Mapping[str, Callable[[_Names, Any, str], None]] = {
    "use_training_step": _training_step,
    "output_data_s3_mode": _upload_mode,
}


def _arguments(names: _Names, holder: str, values: Any, path: str) -> None:
    """Take the SDK's keywords apart: each is one of our settings, or refused."""
    if values is None:
        return
    if not isinstance(values, Mapping):
        names.refuse(path, f"{path} is not an object.", f"Write the settings themselves in place of {holder}.")
        return
    for given, value in values.items():
        name, where = _spelt(given), f"{path}.{given}"
        if name == "network_config":
            _network(names, value, where)
        elif name in SDK_ALIASES:
            names.put(SDK_ALIASES[name], value, where)
        elif name in SDK_REFUSED:
            names.refuse(where, f"{where} is not a setting of a job.", SDK_REFUSED[name])
        else:
            names.unknown(where, name, list(SDK_ALIASES), "It has no setting of that name here.")


def _network(names: _Names, values: Any, path: str) -> None:
    if values is None:
        return
    if not isinstance(values, Mapping):
        names.refuse(path, f"{path} is not an object.", f"Set {', '.join(_NETWORK)} in its place.")
        return
    for given, value in values.items():
        name, where = _spelt(given), f"{path}.{given}"
        if name in _NETWORK:
            names.put(name, value, where)
        else:
            names.unknown(where, name, _NETWORK, f"It may hold {', '.join(_NETWORK)}.")


def _bucket(value: Any) -> Any:
    return value if not isinstance(value, str) or "://" in value else f"s3://{value.strip('/')}/"


# Settings that the API writes as a list of such pairs: ``[{"Key": "team", "Value": "vision"}]``.
_API_PAIRS = {"tags": ("Key", "Value"), "metric_definitions": ("Name", "Regex")}


def _formed(name: str, value: Any) -> Any:
    """Return a value in the one form that the model has for it, where it is well formed at all."""
    if name == "instance_type" and isinstance(value, str):
        return (value,)
    if name == "input_data":
        channels = {DEFAULT_CHANNEL: value} if isinstance(value, str) else value
        if not isinstance(channels, Mapping):
            return channels
        return {channel: _channel(one) for channel, one in channels.items()}
    if name in _API_PAIRS and isinstance(value, (list, tuple)):
        return _paired(value, *_API_PAIRS[name])
    return value


def _channel(value: Any) -> Any:
    """A bare address is a channel's ``uri``, so that a later layer can change its mode alone."""
    if isinstance(value, str):
        return {"uri": value}
    return {_spelt(member): one for member, one in value.items()} if isinstance(value, Mapping) else value


def _paired(entries: Sequence[Any], key: str, value: str) -> Any:
    """Return what a list of the API's objects says, as the SDK takes it; the list itself when it is no such list."""
    pairs = {
        entry[key]: entry[value]
        for entry in entries
        if isinstance(entry, Mapping) and entry.keys() == {key, value} and isinstance(entry[key], str)
    }
    return pairs if len(pairs) == len(entries) else entries  # a key twice shows as a list that does not fit
