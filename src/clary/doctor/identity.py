"""Who asks, from where, for how long, and by which clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.doctor.findings import Check, Finding, failed, ok, warning
from clary.sagemaker.limits import service_model

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

CLOCK_WARNING = 60
"""Seconds of difference that are worth a word."""
CLOCK_FAILURE = 300
"""Seconds of difference after which requests are refused. Source: AWS SigV4 takes a request for at most 5 minutes (15
for S3)."""
_RENEWED = frozenset(
    {"assume-role", "assume-role-with-web-identity", "container-role", "custom-process", "iam-role", "login", "sso"}
)
"""Sources whose credentials botocore renews by itself, by the names of its providers."""


def _identity(subject: Subject) -> Finding:
    caller = subject.caller()
    source = subject.aws.credentials().source
    account = subject.role.split(":")[4]
    told = f"{caller.arn}, account {caller.account} (credentials from {source})"
    if caller.account != account:
        return failed(
            f"{told}: another account than the execution role's, {account}.",
            "SageMaker takes only roles of the account that asks: use credentials of that account (`clary stack "
            "create … --credentials aws-profile:NAME`).",
        )
    if caller.arn.split(":")[1] != subject.partition:
        return failed(
            f"{told}: another partition than the execution role's, {subject.partition}.",
            "Use credentials of that partition, or correct the ARN of --execution-role.",
        )
    return ok(told)


def _region(subject: Subject) -> Finding:
    """Source: the endpoints that the loaded botocore knows; a newer region may be missing from it."""
    from botocore.session import Session

    region = subject.aws.region
    if subject.stack.endpoint_url:
        return ok(f"{region}, at {subject.stack.endpoint_url}")
    known = Session().get_available_regions("sagemaker", partition_name=subject.partition)
    if region not in known:
        return warning(
            f"The loaded botocore knows no SageMaker in {region} (partition {subject.partition}).",
            "Correct the region; if it is a new one, `pip install --upgrade boto3`.",
        )
    return ok(region)


def _clock(subject: Subject) -> Finding:
    ahead = subject.moment().ahead
    off = abs(ahead)
    told = f"This machine's clock is {off:.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS's."
    fix = "Set the clock (`sudo timedatectl set-ntp true`, in a virtual machine also its host's)."
    if off > CLOCK_FAILURE:
        return failed(told, fix)
    if off > CLOCK_WARNING:
        return warning(told, fix)
    return ok("within a minute of AWS's")


def _credentials_life(subject: Subject) -> Finding:
    """Jobs have credentials of their own; the caller's are needed to follow, stop and resume."""
    credentials = subject.aws.credentials()
    if credentials.source in _RENEWED:
        return ok(f"renewed by themselves ({credentials.source})")
    if credentials.token is None:
        return ok("long-lived keys")
    longest = int(subject.settings().max_runtime_in_seconds)
    too_short = credentials.ends_within(longest)
    if too_short is None:
        return warning(
            "Temporary credentials; nothing says when they expire.",
            "Set AWS_CREDENTIAL_EXPIRATION beside the keys, or use a source that renews itself (`aws sso login`, a "
            "profile with role_arn).",
        )
    if too_short:
        return warning(
            f"The credentials expire sooner than a run may take ({longest / 60:.0f} minutes).",
            "Renew them before a long run. A run goes on without them; following and stopping it needs new ones.",
        )
    return ok(f"good for longer than a run may take ({longest / 60:.0f} minutes)")


def _settings(subject: Subject) -> Finding:
    settings = subject.settings()
    return ok(
        f"{settings.instance_count} of {', '.join(subject.instance_types)}, at most {settings.max_runtime_in_seconds} s"
    )


def _instance_type(subject: Subject) -> Finding:
    known = service_model()["shapes"]["TrainingInstanceType"]["enum"]
    unknown = [each for each in subject.instance_types if each not in known]
    if unknown:
        return warning(
            f"The loaded botocore does not list {', '.join(unknown)} for training jobs.",
            "Correct the type; if it is a new one, `pip install --upgrade boto3` brings its name.",
        )
    return ok(", ".join(subject.instance_types))


CHECKS = (
    Check("identity", "Identity", _identity, ("sts:GetCallerIdentity",), vital=True),
    Check("credentials", "Credentials' life", _credentials_life),
    Check("clock", "Clock", _clock, ("sts:GetCallerIdentity",)),
    Check("region", "Region", _region),
    Check("settings", "Job settings", _settings),
    Check("instance-type", "Instance type", _instance_type),
)
