"""Rules of settings among each other: what excludes what, and what needs what.

One function a rule; it yields findings whose path is the setting's own (``max_wait_in_seconds``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clary.sagemaker import settings_limits
from clary.sagemaker.findings import Finding, shown
from clary.sagemaker.reading import broken, doubtful
from clary.sagemaker.settings_judged import Judged, Rule, Use
from clary.sagemaker.shared_rules import is_accelerated

if TYPE_CHECKING:
    from clary.sagemaker.settings_model import JobSettings

_LAMBDA = re.compile(r"arn:[\w-]+:lambda:[\w-]+:\d{12}:function:.+")


def fallbacks_are_possible(judged: Judged) -> Iterator[Finding]:
    """Fallback types are a newer part of the service, which spot and a plan for one type exclude."""
    settings, path = judged.settings, "instance_type"
    if len(settings.instance_type) < 2:
        return
    from clary.sagemaker.limits import service_model

    if "InstancePreferences" not in service_model()["shapes"]["ResourceConfig"]["members"]:
        import botocore

        yield broken(
            path,
            ", ".join(settings.instance_type),
            limit="one type, with the installed botocore",
            message=f"{path} lists fallbacks, which the installed botocore {botocore.__version__} does not know.",
            next_step="Upgrade boto3, or name one type.",
        )
    if settings.use_spot:
        yield broken(
            "use_spot",
            "true",
            limit="not with fallback types",
            message=f"use_spot is set, but {path} lists fallbacks, which a spot job cannot have.",
            next_step="Name one type, or leave use_spot out.",
        )
    if settings.training_plan:
        yield broken(
            path,
            ", ".join(settings.instance_type),
            limit="one type with training_plan",
            message=f"{path} lists fallbacks, but a training plan reserves one type.",
            next_step="Name the plan's type alone; plans by type go into request.ResourceConfig.InstancePreferences.",
        )


def spot_excludes(judged: Judged) -> Iterator[Finding]:
    """Warm pools and training plans are other ways of buying machines."""
    settings = judged.settings
    if not settings.use_spot:
        return
    for path, value, words in (
        ("keep_alive_period_in_seconds", settings.keep_alive_period_in_seconds, "cannot keep its machines warm"),
        ("training_plan", settings.training_plan, "cannot use reserved capacity"),
    ):
        if value:
            yield broken(
                path,
                value,
                limit="not with use_spot",
                message=f"{path} is set, but a spot job {words}.",
                next_step=f"Leave {path} out, or leave use_spot out.",
            )


def spot_needs_a_place_for_progress(judged: Judged) -> Iterator[Finding]:
    """A container without a checkpoint folder begins again after each interruption."""
    settings = judged.settings
    if judged.use is Use.CONTAINER and settings.use_spot and not settings.checkpoint_s3_uri:
        yield judged.lacking(
            "checkpoint_s3_uri",
            why="a spot container that is interrupted begins again, and loses all it has not kept there.",
            next_step="Set checkpoint_s3_uri, or leave use_spot out.",
        )


def waiting_covers_running(judged: Judged) -> Iterator[Finding]:
    """``max_wait_in_seconds`` is for spot, and no shorter than the run."""
    settings, path = judged.settings, "max_wait_in_seconds"
    wait, runtime = settings.max_wait_in_seconds, settings.max_runtime_in_seconds
    if wait is None:
        return
    if not settings.use_spot:
        yield judged.unless_supplied(
            "use_spot",
            path,
            wait,
            limit="only with use_spot",
            message=f"{path} is set, but the job is not a spot job.",
            next_step=f"Leave {path} out, or set use_spot.",
        )
    elif wait < runtime:
        default = "" if "max_runtime_in_seconds" in judged.given else ", the default"
        yield judged.unless_supplied(
            "max_runtime_in_seconds",
            path,
            wait,
            limit=f"at least max_runtime_in_seconds, {runtime}",
            message=f"{path} is {wait}, less than max_runtime_in_seconds ({runtime}{default}); it covers waiting and "
            "running together.",
            next_step=f"Set {path} to at least {runtime}, or lower max_runtime_in_seconds.",
        )


def vpc_is_whole(judged: Judged) -> Iterator[Finding]:
    """Subnets and security groups make a VPC's connection together; a private registry needs it."""
    settings = judged.settings
    if settings.subnets and not settings.security_group_ids:
        yield judged.lacking("security_group_ids", why="subnets are set.", next_step="Add the security groups, 1 to 5.")
    if settings.security_group_ids and not settings.subnets:
        yield judged.lacking("subnets", why="security_group_ids are set.", next_step="Add the subnets, 1 to 16.")
    if settings.registry_access == "Vpc" and not settings.subnets:
        yield judged.lacking(
            "subnets",
            why="registry_access is Vpc, and the registry is reached from them.",
            next_step="Add subnets and security_group_ids, or leave registry_access out.",
        )


def registry_credentials_have_a_use(judged: Judged) -> Iterator[Finding]:
    """Credentials are for a registry reached through the VPC."""
    settings, path = judged.settings, "registry_credentials_lambda"
    value = settings.registry_credentials_lambda
    if value is None:
        return
    if settings.registry_access is None:
        yield judged.lacking(
            "registry_access",
            why=f"{path} is set.",
            next_step="Set registry_access to Vpc, or leave the credentials out.",
        )
    elif settings.registry_access != "Vpc":
        yield broken(
            path,
            value,
            limit="only with registry_access Vpc",
            message=f"{path} is set, but registry_access is {settings.registry_access}.",
            next_step="Set registry_access to Vpc, or leave the credentials out.",
        )
    if not _LAMBDA.fullmatch(value):
        yield broken(
            path,
            value,
            limit="the ARN of a Lambda function",
            message=f"{path} is '{shown(value)}', which is not the ARN of a Lambda function.",
            next_step="Give an ARN such as arn:aws:lambda:eu-west-1:123456789012:function:NAME.",
        )


def flows_reach_their_record(judged: Judged) -> Iterator[Finding]:
    """A flow's record is in S3, and its own credentials come over the network."""
    if judged.use in (Use.FLOW, Use.CALL) and judged.settings.enable_network_isolation:
        yield broken(
            "enable_network_isolation",
            "true",
            limit="not for a flow",
            message="enable_network_isolation is set, but a flow under network isolation could reach neither its "
            "record in S3 nor its credentials.",
            next_step="Use private subnets with an S3 gateway endpoint instead (subnets, security_group_ids), or a "
            "plain job definition, which needs no record.",
        )


def flows_have_one_host(judged: Judged) -> Iterator[Finding]:
    """Only the first host runs a flow's body."""
    count = judged.settings.instance_count
    if judged.use is Use.FLOW and count > 1:
        yield doubtful(
            "instance_count",
            count,
            limit="1 for a flow that is not distributed",
            message=f"instance_count is {count}: the flow runs on the first machine, and the other {count - 1} idle at "
            "full price unless its code uses them.",
            next_step="Set instance_count to 1, unless the flow distributes its work itself.",
        )


def pending_limit_has_an_effect(judged: Judged) -> Iterator[Finding]:
    """Only jobs on accelerators are pending. Source: reference of StoppingCondition."""
    settings, path = judged.settings, "max_pending_time_in_seconds"
    if settings.max_pending_time_in_seconds is not None and not any(map(is_accelerated, settings.instance_type)):
        yield doubtful(
            path,
            settings.max_pending_time_in_seconds,
            limit="only for accelerated types",
            message=f"{path} has no effect on {', '.join(settings.instance_type)}, which has no accelerator.",
            next_step=f"Leave {path} out, or name a type of the p, g or trn families.",
        )


def checkpoint_folder_is_kept(judged: Judged) -> Iterator[Finding]:
    """The local folder means something only beside an S3 folder, and is an absolute path."""
    settings, path = judged.settings, "checkpoint_local_path"
    folder = settings.checkpoint_local_path
    if folder is None:
        return
    if not settings.checkpoint_s3_uri:
        yield judged.lacking(
            "checkpoint_s3_uri",
            why=f"{path} is set, and is kept nowhere without it.",
            next_step=f"Set checkpoint_s3_uri, or leave {path} out.",
        )
    if not folder.startswith("/"):
        yield broken(
            path,
            folder,
            limit="an absolute path",
            message=f"{path} is '{shown(folder)}', which is not an absolute path.",
            next_step="Give a folder of the container, such as /opt/ml/checkpoints.",
        )


RULES: tuple[Rule, ...] = (
    *settings_limits.RULES,
    fallbacks_are_possible,
    spot_excludes,
    spot_needs_a_place_for_progress,
    waiting_covers_running,
    vpc_is_whole,
    registry_credentials_have_a_use,
    flows_reach_their_record,
    flows_have_one_host,
    pending_limit_has_an_effect,
    checkpoint_folder_is_kept,
)


def rule_findings(settings: JobSettings, given: Mapping[str, Any], *, use: Use, whole: bool) -> list[Finding]:
    """Return what breaks the rules; ``given`` is what was set of the settings."""
    judged = Judged(settings, given, use, whole)
    return [finding for rule in RULES for finding in rule(judged)]
