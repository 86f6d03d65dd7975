"""The least policies: who needs which rights, as documents that IAM takes. Pure; nothing here calls AWS.

Five kinds of actors::

    execution   the role that jobs run under: SageMaker's own work and the flow's
    submitter   somebody who starts, follows, stops and resumes runs and keeps secrets
    agent       the same for a server or agent, which also puts suspended runs on a schedule
    scheduler   the role by which EventBridge Scheduler starts the next attempt of a suspended run
    builder     whoever builds images and pushes them

``clary.stacks.scope.scope_of`` gives the scope of a stack.
"""

from __future__ import annotations

from typing import Any

from clary.errors import UsageError, nearest
from clary.sagemaker import statements as say
from clary.sagemaker.statements import Scope, Statement

__all__ = ["KINDS", "LONGEST_POLICY", "Scope", "Statement", "granting", "optional", "policy", "trust"]

VERSION = "2012-10-17"
LONGEST_POLICY = 10_240
"""Characters of all inline policies of a role, whitespace not counted. Source: IAM quotas."""
KINDS = ("execution", "agent", "submitter", "scheduler", "builder")
_OPTIONAL = frozenset({"PublishJobMetrics", "KeepSecrets", "ListSecrets"})
_SERVICES = {"execution": "sagemaker.amazonaws.com", "scheduler": "scheduler.amazonaws.com"}
"""Who assumes the roles that no person or program of the account assumes."""
_WRITTEN_BY_JOBS = ("runs", "values", "cache")
"""Folders of the artifact store that a job writes; what runs (code, runtime, specs) it can only read."""


def policy(kind: str, scope: Scope) -> dict[str, Any]:
    """Return the policy of an actor: an identity policy as ``aws iam put-role-policy`` takes it.

    Each statement's Sid says what it is for. Raises UsageError ``iam.unknown_kind``.
    """
    check_kind(kind)
    makers = {
        "execution": _execution,
        "agent": _agent,
        "submitter": _submitter,
        "scheduler": _scheduler,
        "builder": _builder,
    }
    return {"Version": VERSION, "Statement": makers[kind](scope)}


def trust(kind: str, scope: Scope) -> dict[str, Any]:
    """Return the trust policy of an actor's role: which service assumes it, on behalf of this account only.

    The roles of a submitter, agent or builder trust the account: whom its own policies let call sts:AssumeRole. The
    condition keeps the service from using the role for somebody else ("confused deputy"). Raises UsageError
    ``iam.unknown_kind``.
    """
    check_kind(kind)
    if kind in _SERVICES:
        who = {
            "Sid": "AssumedForThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": _SERVICES[kind]},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": scope.account}},
        }
    else:
        who = {
            "Sid": "AssumedByThisAccount",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{scope.partition}:iam::{scope.account}:root"},
            "Action": "sts:AssumeRole",
        }
    return {"Version": VERSION, "Statement": [who]}


def granting(kind: str, scope: Scope, action: str) -> Statement | None:
    """Return the statement of an actor's policy that allows ``action``, narrowed to it; None when none does.

    It is what somebody who lacks that one right should add.
    """
    for statement in policy(kind, scope)["Statement"]:
        if action in statement["Action"]:
            return {**statement, "Action": [action]}
    return None


def optional(statement: Statement) -> bool:
    """Tell whether runs work without a statement: it serves looks, secrets that a flow need not have, or metrics."""
    sid = statement["Sid"]
    return sid.startswith("LookAt") or sid in _OPTIONAL


def check_kind(kind: str) -> None:
    """Refuse a kind that does not exist: UsageError ``iam.unknown_kind``, with the nearest one."""
    if kind in KINDS:
        return
    meant = nearest(kind, KINDS)
    raise UsageError(
        "iam.unknown_kind",
        f"There is no policy {kind!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"The policies are: {', '.join(KINDS)}.",
        field="kind",
    )


def _execution(scope: Scope) -> list[Statement]:
    pull = [say.sign_in_to_registry(), say.pull_images(scope.images)] if scope.images else []
    return [
        say.list_artifacts(scope),
        say.read_artifacts(scope),
        say.write_artifacts(scope, *_WRITTEN_BY_JOBS),
        *say.use_folders(scope),
        *pull,
        say.write_job_logs(scope),
        say.publish_metrics(),
        *say.read_secrets(scope),
        *say.keep_schedules(scope),
        *say.use_keys(scope),
        *say.join_vpc(scope),
        *say.reach_private_registry(scope),
        *say.open_shells(scope),
        *say.run_isolated_checkpoints(scope),
    ]


def _submitter(scope: Scope) -> list[Statement]:
    return [
        say.list_artifacts(scope),
        say.read_artifacts(scope),
        say.write_artifacts(scope),
        say.start_jobs(scope),
        say.watch_and_stop_jobs(scope),
        say.pass_execution_role(scope),
        say.read_job_logs(scope),
        *say.keep_secrets(scope),
        say.look_at_roles(scope),
        say.look_at_own_rights(scope),
        *say.look_at_bucket(scope),
        *say.look_at_images(scope),
        *say.look_at_account(scope),
        *say.look_at_keys(scope),
    ]


def _agent(scope: Scope) -> list[Statement]:
    return [*_submitter(scope), *say.keep_schedules(scope)]


def _scheduler(scope: Scope) -> list[Statement]:
    return [say.start_jobs(scope), say.pass_execution_role(scope)]


def _builder(scope: Scope) -> list[Statement]:
    repositories = {*scope.images, *([scope.registry] if scope.registry else [])}
    pull = [say.pull_images(repositories)] if repositories else []
    return [
        say.sign_in_to_registry(),
        *pull,
        *say.push_images(scope),
        say.list_artifacts(scope),
        say.allow(
            "UseBuildContexts",
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"],
            [scope.key(f"{say.BUILD_CONTEXTS}/*")],
        ),
    ]
