"""Bootstrap: what would be made, making it, taking it away. The one door for the command line and Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import NotFoundError
from clary.sagemaker.statements import SCHEDULE_GROUP
from clary.stacks.access import open_aws
from clary.stacks.bootstrap import holdings, shared
from clary.stacks.bootstrap.cloudformation import CloudFormation, Event, Found
from clary.stacks.bootstrap.names import Names, check_name, check_region
from clary.stacks.bootstrap.template import ABORT_UPLOADS_AFTER, ROLES, SCRATCH, UNTAGGED_IMAGES, body, template
from clary.stacks.model import SAGEMAKER, Stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sagemaker.session import Aws


@dataclass(frozen=True)
class Setup:
    """What bootstrap is asked for: a name, a region, and how AWS is reached."""

    name: str
    region: str
    endpoint_url: str | None = None
    credentials: str | None = None

    def names(self) -> Names:
        """Return the names of what is made, account and partition open.

        Raises UsageError ``bootstrap.bad_name`` or ``bootstrap.bad_region``.
        """
        check_name(self.name)
        check_region(self.region)
        return Names(self.name, self.region)

    def aws(self) -> Aws:
        """Return the way to AWS."""
        return open_aws(
            Stack(
                name=self.name,
                type=SAGEMAKER,
                artifact_store="",
                region=self.region,
                endpoint_url=self.endpoint_url,
                credentials=self.credentials,
            )
        )


@dataclass(frozen=True)
class Applied:
    """What ``apply`` has done."""

    change: str
    """``created``, ``updated`` or ``unchanged``."""
    stack: str
    """The name of the CloudFormation stack."""
    artifact_store: str
    container_registry: str
    roles: dict[str, str]
    """ARN by kind."""
    notes: tuple[str, ...]
    """What was made or found beside the CloudFormation stack."""
    warnings: tuple[str, ...]
    """What the template asks for and CloudFormation did not do."""
    arguments: tuple[str, ...]
    """The arguments of ``clary`` that make a stack of it."""


def wanted(setup: Setup) -> tuple[dict[str, Any], list[str]]:
    """Return the template, and in words what it makes. Nothing is asked of AWS."""
    names = setup.names()
    shown = Names(setup.name, setup.region, account="ACCOUNT", partition="aws")
    expiring = ", ".join(f"{prefix} after {days} days" for prefix, days in SCRATCH.items())
    lifetimes = f"unfinished uploads are dropped after {ABORT_UPLOADS_AFTER} days; {expiring}; nothing else expires"
    untagged = f"images without a tag are dropped after {UNTAGGED_IMAGES} days"
    groups = f"log groups {' and '.join(shared.LOG_GROUPS)} ({shared.LOG_DAYS} days)"
    words = [
        f"CloudFormation stack {names.stack} in {setup.region}, with:",
        f"Bucket {shown.bucket}: encrypted, private, reached by encrypted connections only; {lifetimes}.",
        f"Image repository {names.repository}: scanned on push; {untagged}.",
        *(f"Role {names.role(kind)}: {purpose}." for kind, purpose in ROLES.items()),
        f"Beside it, where missing: {groups}, schedule group {SCHEDULE_GROUP}.",
    ]
    return template(names), words


def apply(setup: Setup, tell: Callable[[Event], None]) -> Applied:
    """Make everything or bring it up to date; done twice, it changes nothing. ``tell`` is given each step.

    Raises what ``wanted`` and ``CloudFormation.apply`` raise, AwsError and its kin.
    """
    names = setup.names()
    document = template(names)
    aws = setup.aws()
    account = aws.caller_account()  # before anything is changed: are there credentials at all?
    formation = CloudFormation(aws, names.stack, tell)
    change, found = formation.apply(body(document))
    missing = sorted(set(document["Resources"]) - formation.made())
    notes = shared.ensure(aws)
    return _applied(setup, names, change, found, notes, [_missing(document, one, account) for one in missing])


def destroy(setup: Setup, agree: Callable[[list[str]], object], tell: Callable[[Event], None]) -> list[str]:
    """Take away what ``apply`` made, if the bucket and the repository hold nothing; return what is left, in words.

    ``agree`` is given what will be deleted, and raises to keep it. Raises NotFoundError ``bootstrap.not_found``,
    ConflictError ``bootstrap.not_empty`` with what is in there, AwsError and its kin.
    """
    names = setup.names()
    aws = setup.aws()
    formation = CloudFormation(aws, names.stack, tell)
    found = formation.find()
    real = Names(setup.name, setup.region, account=aws.caller_account())
    if found is None and not holdings.there(aws, real):
        raise NotFoundError(
            "bootstrap.not_found",
            f"There is no CloudFormation stack {names.stack} in {setup.region}.",
            next_step="Check --name and --region; `aws cloudformation list-stacks` shows the stacks.",
        )
    holdings.refuse_full(aws, real)
    agree([f"CloudFormation stack {names.stack}", f"bucket {real.bucket}", f"image repository {real.repository}"])
    if found is not None:
        formation.delete(found)
    holdings.remove(aws, real)
    groups = ", ".join((*shared.LOG_GROUPS, SCHEDULE_GROUP))
    return [f"The log groups and the schedule group stay, for they are the account's: {groups}."]


def _applied(setup: Setup, names: Names, change: str, found: Found, notes: list[str], warnings: list[str]) -> Applied:
    outputs = found.outputs
    store, registry = outputs["ArtifactStore"], outputs["ContainerRegistry"]
    roles = {kind: outputs[f"{kind.title()}Role"] for kind in ROLES}
    place = [("--region", setup.region), ("--artifact-store", store), ("--container-registry", registry)]
    place += [("--execution-role", roles["execution"])]
    place += [("--extra", f"orchestrator.scheduler_role={roles['scheduler']}")]
    place += [("--endpoint-url", setup.endpoint_url)] if setup.endpoint_url else []
    place += [("--credentials", setup.credentials)] if setup.credentials else []
    arguments = ["stack", "create", setup.name, "--type", "sagemaker", *(part for pair in place for part in pair)]
    return Applied(
        change, names.stack, store, registry, roles, tuple(notes), tuple(warnings), tuple(map(str, arguments))
    )


def _missing(document: dict[str, Any], name: str, account: str) -> str:
    kind = document["Resources"][name]["Type"]
    return f"CloudFormation in the account {account} did not make {name} ({kind}), which the template asks for."
