"""The rules of a new stack: which fields a type takes, which it needs, and what each may look like.

Nothing here touches the store or the network. Sources of the forms: the S3 naming rules for general purpose buckets,
the ``RoleArn`` pattern of CreateTrainingJob, the ECR URI and repository name patterns of the ECR API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from clary.errors import ClaryError, ConfigError, ConflictError, UsageError, ValidationError, nearest
from clary.stacks.model import LOCAL, SAGEMAKER, SANDBOX, Stack

TYPES = (LOCAL, SAGEMAKER, SANDBOX)
"""What a stack can be created as. A sandbox stack is a sagemaker stack that points at the running sandbox."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BUCKET = re.compile(r"(?!xn--|sthree-)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_REGISTRY = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)(\.[a-z0-9-]+){2,}"
    r"(?P<repository>/[a-z0-9]+([._/-]+[a-z0-9]+)*)?"
)
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")
_CREDENTIALS = re.compile(r"(aws-profile|aws-credentials-file):\S.*")


@dataclass(frozen=True)
class Draft:
    """A stack as somebody asked for it: every field as it was given, or None."""

    name: str
    type: str = LOCAL
    artifact_store: str | None = None
    container_registry: str | None = None
    region: str | None = None
    execution_role: str | None = None
    instance_type: str | None = None
    image: str | None = None
    endpoint_url: str | None = None
    credentials: str | None = None


@dataclass(frozen=True)
class Place:
    """What a running sandbox offers a stack that points at it."""

    endpoint_url: str
    bucket: str
    execution_role: str
    account: str
    region: str
    credentials: str | None = None
    image: str | None = None
    """The sandbox's own image: what flows run in that name none."""


_OPTIONS = tuple(f.name for f in fields(Draft) if f.name not in {"name", "type"})
_TAKES = {
    LOCAL: {"artifact_store"},
    SAGEMAKER: set(_OPTIONS),
    SANDBOX: {"instance_type", "image"},
}
_NEEDS = {
    LOCAL: (),
    SAGEMAKER: ("artifact_store", "container_registry", "region", "execution_role"),
    SANDBOX: (),
}
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "container_registry": (_REGISTRY, "ACCOUNT.dkr.ecr.REGION.amazonaws.com[/REPOSITORY]"),
    "region": (_REGION, "a region such as eu-central-1"),
    "execution_role": (_ROLE, "arn:aws:iam::ACCOUNT:role/NAME (the role's ARN, not its name)"),
    "instance_type": (_INSTANCE, "ml.FAMILY.SIZE, such as ml.m5.xlarge"),
    "endpoint_url": (_ENDPOINT, "http://HOST:PORT or https://HOST"),
    "credentials": (_CREDENTIALS, "aws-profile:NAME or aws-credentials-file:PATH"),
}


def option(field: str) -> str:
    """Return the command-line spelling of a field."""
    return "--" + field.replace("_", "-")


def check_type(type_: str) -> None:
    """Refuse a type that does not exist: UsageError ``stack.unknown_type``, with the nearest one."""
    if type_ in TYPES:
        return
    meant = nearest(type_, TYPES)
    raise UsageError(
        "stack.unknown_type",
        f"There is no stack type {type_!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"The types are: {', '.join(TYPES)}.",
        field="type",
    )


def check_name(name: str, type_: str) -> None:
    """Refuse a name of the wrong form (``stack.bad_name``) or one that is kept (``stack.reserved_name``)."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "stack.bad_name",
            f"{name!r} cannot be the name of a stack.",
            next_step="Use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or a digit.",
            field="name",
        )
    if name == LOCAL:
        raise ConflictError(
            "stack.reserved_name",
            "The stack 'local' is always there and cannot be made anew.",
            next_step="Choose another name, or run `clary stack use local`.",
            field="name",
        )
    if name == SANDBOX and type_ != SANDBOX:
        raise ConflictError(
            "stack.reserved_name",
            "The name 'sandbox' is kept for a stack of --type sandbox.",
            next_step=f"Choose another name for this {type_} stack.",
            field="name",
        )


def check_fields(draft: Draft) -> None:
    """Refuse fields that the type does not take, then name every one that it lacks, then every malformed one."""
    given = {name: value for name in _OPTIONS if (value := getattr(draft, name)) is not None}
    foreign = [name for name in given if name not in _TAKES[draft.type]]
    if foreign:
        raise _foreign(draft.type, foreign)
    missing = [name for name in _NEEDS[draft.type] if not given.get(name)]
    if missing:
        listed = ", ".join(option(name) for name in missing)
        raise UsageError(
            "stack.missing_fields",
            f"A {draft.type} stack also needs: {listed}.",
            next_step="Give them all: " + " ".join(f"{option(name)} {_example(name)}" for name in missing),
            field=missing[0],
            details={"missing": missing},
        )
    problems = [problem for name, value in given.items() if (problem := _problem(draft.type, name, value))]
    if problems:
        raise _malformed(problems)


def build(draft: Draft, *, folder: Path, place: Place | None = None) -> Stack:
    """Return the stack that a draft asks for.

    ``folder`` is where a local stack keeps its runs if the draft names none; ``place`` is the running sandbox, needed
    for ``--type sandbox``. Raises UsageError, ConflictError or ValidationError for the first broken rule.
    """
    check_type(draft.type)
    check_name(draft.name, draft.type)
    check_fields(draft)
    settings = {"instance_type": draft.instance_type} if draft.instance_type else {}
    if draft.type == LOCAL:
        store = Path(draft.artifact_store).expanduser().absolute() if draft.artifact_store else folder
        return Stack(draft.name, LOCAL, str(store))
    if draft.type == SANDBOX:
        if place is None:
            raise _no_sandbox()
        return Stack(
            name=draft.name,
            type=SAGEMAKER,
            artifact_store=f"s3://{place.bucket}/clary",
            region=place.region,
            execution_role=place.execution_role,
            container_registry=f"{place.account}.dkr.ecr.{place.region}.amazonaws.com/clary",
            image=draft.image or place.image,
            endpoint_url=place.endpoint_url,
            credentials=place.credentials,
            settings=settings,
        )
    assert draft.artifact_store is not None
    return Stack(
        name=draft.name,
        type=SAGEMAKER,
        artifact_store=draft.artifact_store.rstrip("/"),
        region=draft.region,
        execution_role=draft.execution_role,
        container_registry=(draft.container_registry or "").rstrip("/"),
        image=draft.image,
        endpoint_url=draft.endpoint_url,
        credentials=draft.credentials,
        settings=settings,
    )


def warnings(stack: Stack) -> list[str]:
    """Return what is allowed and yet looks wrong."""
    found = _REGISTRY.fullmatch(stack.container_registry or "")
    if found and stack.region and found["region"] != stack.region:
        return [
            (
                f"The container registry is in {found['region']}, the stack in {stack.region}: "
                "SageMaker pulls images from its own region only."
            )
        ]
    return []


def bucket_of(artifact_store: str) -> str:
    """Return the bucket of an ``s3://bucket/prefix`` location."""
    return artifact_store.removeprefix("s3://").split("/", 1)[0]


def _problem(type_: str, name: str, value: str) -> dict[str, str] | None:
    if name == "artifact_store":
        return _store_problem(type_, value)
    if name == "credentials" and value.startswith(("aws-access-keys:", "aws-session-token:")):
        advice = (
            "keys given here would be kept in the shell's history; put them into a profile and give aws-profile:NAME"
        )
        return {"field": name, "value": value.split(":", 1)[0] + ":…", "message": advice}
    form = _FORMS.get(name)
    if form is None or form[0].fullmatch(value.rstrip("/")):
        return None
    return {"field": name, "value": value, "message": f"expected {form[1]}"}


def _store_problem(type_: str, value: str) -> dict[str, str] | None:
    if type_ == LOCAL:
        message = (
            "a local stack keeps its runs in a folder; a bucket belongs to --type sagemaker" if "://" in value else ""
        )
    elif not value.startswith("s3://"):
        message = "a sagemaker stack keeps its runs in S3: expected s3://BUCKET/PREFIX"
    else:
        bucket = bucket_of(value)
        message = (
            "" if _BUCKET.fullmatch(bucket) else f"{bucket!r} is not a bucket name (3 to 63 of a-z, 0-9, '.', '-')"
        )
    return {"field": "artifact_store", "value": value, "message": message} if message else None


def _foreign(type_: str, foreign: list[str]) -> ClaryError:
    listed = ", ".join(option(name) for name in foreign)
    if type_ == SANDBOX:
        step = "Leave it out: a sandbox stack takes this from the running sandbox. For AWS itself use --type sagemaker."
    else:
        step = f"Add --type {SAGEMAKER}, or leave it out."
    return UsageError(
        "stack.foreign_field",
        f"{SAGEMAKER}-only options require --type {SAGEMAKER}: {listed}.",
        next_step=step,
        field=foreign[0],
        details={"fields": foreign, "type": SAGEMAKER},
    )


def _malformed(problems: list[dict[str, str]]) -> ClaryError:
    lines = [f"{option(problem['field'])} {problem['value']}: {problem['message']}" for problem in problems]
    return ValidationError(
        "stack.bad_value",
        "; ".join(lines) + ".",
        next_step="Correct the value and run the command again; nothing was stored.",
        field=problems[0]["field"],
        details={"findings": problems},
    )


def _example(name: str) -> str:
    return {
        "artifact_store": "s3://BUCKET/PREFIX",
        "container_registry": "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY",
        "region": "REGION",
        "execution_role": "arn:aws:iam::ACCOUNT:role/ROLE",
    }[name]


def _no_sandbox() -> ClaryError:
    return ConfigError(
        "stack.sandbox_not_running",
        "A sandbox stack points at a running sandbox, and none is running.",
        next_step="Run `clary sandbox start --detach`, then create the stack.",
    )
