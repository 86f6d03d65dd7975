"""A stack's secrets: where they are, and the references to them in what is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.errors import (
    AwsError,
    ClaryError,
    ConfigError,
    NotFoundError,
    UsageError,
    ValidationError,
    nearest,
)
from clary.secrets import redaction, references
from clary.secrets.names import DEFAULT_PREFIX
from clary.secrets.store import key_not_found
from clary.settings import hidden
from clary.stacks.access import open_aws
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clary.agent.place import Place
    from clary.journal.records import Record
    from clary.sagemaker.settings import JobSettings
    from clary.secrets.references import Reference
    from clary.secrets.store import SecretStore
    from clary.stacks.model import Stack

FLAVORS = ("aws", "ssm", "local")
_LEAST_SECRET = 8
"""Characters below which a text is hardly a secret: ``TOKENIZERS_PARALLELISM=false``, ``MAX_TOKENS=512``."""
_SERVICES = {"aws": "secretsmanager", "ssm": "ssm"}


def flavor_of(stack: Stack) -> str:
    """Return the flavor of a stack's secrets manager: what it names, else ``local`` here and ``aws`` for jobs.

    Raises ConfigError (``secret.unknown_backend``).
    """
    named = str(stack.secrets.get("flavor") or ("local" if stack.type == LOCAL else "aws"))
    if named in FLAVORS:
        return named
    meant = nearest(named, FLAVORS)
    raise ConfigError(
        "secret.unknown_backend",
        f"The stack {stack.name!r} names the secrets manager {named!r}, which Clary does not know.",
        next_step=f"Did you mean {meant!r}?" if meant else f"It knows: {', '.join(FLAVORS)}.",
        field="secrets.flavor",
    )


def open_secrets(stack: Stack, flavor: str | None = None) -> SecretStore:
    """Return the store of a stack's secrets; ``flavor`` asks for another than the stack's own.

    Raises UsageError (``secret.no_aws``) for AWS on a local stack that names no secrets manager in AWS.
    """
    chosen = flavor or flavor_of(stack)
    if chosen == "local":
        from clary.secrets.local import LocalSecrets

        return LocalSecrets()
    if stack.type == LOCAL and flavor_of(stack) == "local":
        raise UsageError(
            "secret.no_aws",
            f"The stack {stack.name!r} does not say which account and region of AWS to use.",
            next_step=f"Name a sagemaker stack: --backend {chosen} --stack NAME.",
            field="backend",
        )
    from clary.secrets.aws import AwsSecrets
    from clary.secrets.ssm import SsmSecrets

    kind = AwsSecrets if chosen == "aws" else SsmSecrets
    return kind(open_aws(stack), prefix=_prefix(stack), kms_key=stack.secrets.get("kms_key"))


def maker(stack: Stack, flavor: str | None = None) -> str:
    """Return who makes a secret, for the mark of a private one: the caller's id in AWS (``aws:userid``), or the user
    of this machine.

    Raises what STS refuses.
    """
    if (flavor or flavor_of(stack)) == "local":
        from clary.agent.local import who

        return who()
    with open_aws(stack).call("sts:GetCallerIdentity") as client:
        return str(client.get_caller_identity()["UserId"])


def taken_out(place: Place, wanted: JobSettings) -> tuple[JobSettings, dict[str, str], Record | None]:
    """Take the variables whose texts refer to secrets out of the settings of a job.

    Returns the settings without them, the variables with their references, for the spec, and where the job finds the
    secrets, or None when there is none to find. Raises ValidationError (``secret.bad_reference``,
    ``secret.misplaced``), ConfigError (``secret.not_in_job``).
    """
    environment = _split(wanted.environment, "environment")
    own = wanted.request.get("Environment") or {}
    requested = _split(own, "request.Environment")
    _refuse_elsewhere(wanted)
    found = {**environment, **requested}
    if not found:
        return wanted, {}, None
    plain = {name: text for name, text in wanted.environment.items() if name not in found}
    request = {**wanted.request, "Environment": {name: text for name, text in own.items() if name not in requested}}
    kept = replace(wanted, environment=plain, request=request if own else wanted.request)
    return kept, found, _where(place)


def literal_notes(variables: Mapping[str, Any]) -> list[str]:
    """Return what to say of variables whose texts look like secrets, and are no references to any."""
    return [
        f"The variable {name} looks like a secret, and whoever may look at the job can read it: keep it with `clary "
        f"secrets set NAME --{name}=-`, and write {{{{secrets.NAME.{name}}}}} in its place."
        for name, text in variables.items()
        if hidden.is_secret(name, text) and len(text) >= _LEAST_SECRET
    ]


def check(place: Place, variables: Mapping[str, str]) -> list[str]:
    """Look whether the secrets that variables refer to are there, where these credentials may look.

    Returns a note for each that could not be looked at. Raises NotFoundError (``secret.not_found``,
    ``secret.key_not_found``).
    """
    notes = []
    held = open_secrets(place.stack)
    for name, wanted in _by_name(variables).items():
        try:
            known = held.read(name)
        except NotFoundError as error:
            raise _only_here(place, name, error) from error
        except AwsError as error:
            notes.append(f"The secret {name!r} could not be checked: {error.summary}")
            continue
        for one in wanted:
            if one.key not in known:
                raise key_not_found(name, one.key, held, list(known))
    return notes


def local_variables(*layers: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that layers of settings name in ``environment``; a later one wins, None takes one away.

    Raises ValidationError (``settings.invalid``, ``secret.bad_reference``).
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        environment = layer.get("environment")
        if environment is not None and not isinstance(environment, Mapping):
            raise _bad_environment("environment", "names and texts are expected")
        merged |= {str(name): value for name, value in (environment or {}).items()}
    for name, value in merged.items():
        if not name or "=" in name or "\0" in name:
            raise _bad_environment("environment", f"{name!r} cannot name a variable")
        if value is not None and not isinstance(value, (str, int, float)):
            raise _bad_environment(f"environment.{name}", "a text is expected")
    texts = {name: str(value) for name, value in merged.items() if value is not None}
    _split(texts, "environment")
    return texts


@contextmanager
def local_environment(stack: Stack, texts: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a run in this process, and put them back afterwards.

    References are filled in, and their values masked meanwhile in what Clary keeps. Raises NotFoundError
    (``secret.not_found``, ``secret.key_not_found``), ConfigError (``secret.bad_value``) and what the store raises.
    """
    values, secrets = _resolved(stack, texts) if texts else ({}, [])
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        with redaction.hidden(secrets):
            yield
    finally:
        for name, value in before.items():
            if os.environ.get(name) != values[name]:
                continue  # somebody else has set it since
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _resolved(stack: Stack, texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables with their references filled in, and the values that were filled in."""
    from clary.runtime.secrets import check_variable

    found: dict[Reference, str] = {}
    wanted = _by_name(texts)
    held = open_secrets(stack) if wanted else None
    for name, ones in wanted.items():
        assert held is not None
        known = held.read(name)
        for one in ones:
            if one.key not in known:
                raise key_not_found(name, one.key, held, list(known))
            found[one] = known[one.key]
    values = {name: references.filled(text, found.__getitem__) for name, text in texts.items()}
    for name, value in values.items():
        check_variable(name, value)
    return values, list(found.values())


def _bad_environment(field: str, problem: str) -> ValidationError:
    return ValidationError(
        "settings.invalid",
        f"The job settings do not fit: {field}: {problem}",
        next_step=f"Correct {field}.",
        field=field,
    )


def _split(variables: Mapping[str, Any], field: str) -> dict[str, str]:
    """Return the variables that refer to secrets; raises ValidationError (``secret.bad_reference``)."""
    found = {name: text for name, text in variables.items() if isinstance(text, str) and references.has(text)}
    for name, text in found.items():
        references.find(text, field=f"{field}.{name}")
    return found


def _refuse_elsewhere(wanted: JobSettings) -> None:
    from dataclasses import asdict

    for path, _ in references.places(asdict(wanted)):
        if path.startswith(("environment.", "request.Environment.")):
            continue
        raise ValidationError(
            "secret.misplaced",
            f"The setting {path} refers to a secret, and would be sent to SageMaker as it is.",
            next_step="Refer to secrets in environment only: the job reads them there by its role.",
            field=path,
        )


def _where(place: Place) -> Record:
    """Return where a job finds the secrets of its stack."""
    stack, flavor = place.stack, flavor_of(place.stack)
    if flavor == "local":
        raise ConfigError(
            "secret.not_in_job",
            f"The stack {stack.name!r} keeps its secrets on this machine, where no job can read them.",
            next_step="Keep those that jobs need in AWS: clary secrets set NAME --KEY=@FILE --backend aws, and let the "
            "stack's secrets manager be aws.",
            field="secrets.flavor",
        )
    prefix = _prefix(stack)
    if flavor == "ssm":
        from clary.secrets.ssm import path_root

        prefix = path_root(prefix)
    endpoint = place.aws.resolved_endpoint(_SERVICES[flavor])
    return {"flavor": flavor, "endpoint": endpoint, "region": place.aws.region, "prefix": prefix}


def _prefix(stack: Stack) -> str:
    return str(stack.secrets.get("prefix") or DEFAULT_PREFIX)


def _by_name(texts: Mapping[str, str]) -> dict[str, Sequence[Reference]]:
    wanted: dict[str, set[Reference]] = {}
    for name, text in texts.items():
        for one in references.find(text, field=f"environment.{name}"):
            wanted.setdefault(one.name, set()).add(one)
    return {name: sorted(ones) for name, ones in sorted(wanted.items())}


def _only_here(place: Place, name: str, error: NotFoundError) -> ClaryError:
    """Return the error for a secret that a job needs; it may have been kept on this machine instead."""
    from clary.secrets.local import LocalSecrets

    try:
        if flavor_of(place.stack) == "local" or not LocalSecrets().exists(name):
            return error
    except ClaryError:
        return error  # the local store cannot be read; the first error is the one that counts
    return ConfigError(
        "secret.not_in_job",
        f"The secret {name!r} is kept on this machine only, where no job can read it.",
        next_step=f"Keep it where the job's role can read it: clary secrets set {name} --KEY=@FILE "
        f"--backend {flavor_of(place.stack)} --stack {place.stack.name}.",
        field="name",
    )
