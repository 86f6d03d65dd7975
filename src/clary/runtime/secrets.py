"""The secrets that a job's spec refers to, read by the job's role before anything of the user's is loaded."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, ClaryError, ConfigError, ConflictError, NotFoundError, nearest
from clary.runtime import awsjson
from clary.secrets import redaction, references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clary.secrets.references import Reference

_SERVICES = {"aws": ("secretsmanager", "secretsmanager"), "ssm": ("ssm", "AmazonSSM")}
"""Name of the service and what its targets begin with, by the flavor of the secrets manager."""
_AT_ONCE = 10
"""Parameters that one GetParameters takes. Source: the SSM API."""


def set_environment(spec: Mapping[str, Any]) -> None:
    """Set the variables of a spec whose values refer to secrets, and mask those secrets in what is printed from now on.

    Raises NotFoundError (``secret.not_found``, ``secret.key_not_found``), PermissionDeniedError (``secret.forbidden``,
    ``secret.no_credentials``), ConfigError (``secret.not_keys``, ``secret.bad_value``), ConflictError
    (``secret.being_deleted``), ThrottledError (``secret.throttled``), AwsError (``secret.unreachable``,
    ``secret.refused``).
    """
    texts = {name: text for name, text in spec.get("environment", {}).items() if references.has(text)}
    if not texts:
        return
    found = read(spec["secrets"], {one for text in texts.values() for one in references.find(text)})
    redaction.hide(found.values())
    sys.stdout, sys.stderr = redaction.MaskedStream(sys.stdout), redaction.MaskedStream(sys.stderr)
    for name, text in texts.items():
        value = references.filled(text, found.__getitem__)
        check_variable(name, value)
        os.environ[name] = value


def read(where: Mapping[str, str], wanted: Iterable[Reference]) -> dict[Reference, str]:
    """Return the values of references; ``where`` is the spec's ``secrets``: flavor, endpoint, region, prefix."""
    name, target = _SERVICES[where["flavor"]]
    service = awsjson.Service(name, target, where["endpoint"], where["region"])
    ordered = sorted(wanted)
    return (_from_secrets_manager if name == "secretsmanager" else _from_ssm)(service, where["prefix"], ordered)


def check_variable(name: str, value: str) -> None:
    """Refuse a text that no environment variable can hold: ConfigError ``secret.bad_value``."""
    if "\0" in value:
        raise ConfigError(
            "secret.bad_value",
            f"The value for the variable {name} holds a NUL character, which no environment variable can hold.",
            next_step="Keep such a value in base 64, and decode it in the flow.",
            field=f"environment.{name}",
        )


def _from_secrets_manager(service: awsjson.Service, prefix: str, wanted: list[Reference]) -> dict[Reference, str]:
    held: dict[str, dict[str, str]] = {}
    for name in {one.name for one in wanted}:
        held[name] = _secret(service, prefix, name)
    for one in wanted:
        if one.key not in held[one.name]:
            raise _no_key(one, f"{prefix}{one.name}", held[one.name])
    return {one: held[one.name][one.key] for one in wanted}


def _secret(service: awsjson.Service, prefix: str, name: str) -> dict[str, str]:
    try:
        answer = awsjson.call(service, "GetSecretValue", {"SecretId": f"{prefix}{name}"}, resource=f"{prefix}{name}")
    except AwsError as error:
        raise _told(error, service, name, f"{prefix}{name}") from None
    return references.values_of(str(answer.get("SecretString") or ""), name)


def _from_ssm(service: awsjson.Service, prefix: str, wanted: list[Reference]) -> dict[Reference, str]:
    paths = {f"/{prefix.strip('/')}/{one.name}/{one.key}": one for one in wanted}
    names = list(paths)
    found: dict[Reference, str] = {}
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        asked = {"Names": some, "WithDecryption": True}
        answer = awsjson.call(service, "GetParameters", asked, resource=", ".join(some))
        found |= {paths[one["Name"]]: one["Value"] for one in answer.get("Parameters", ())}
    for path, one in paths.items():
        if one not in found:
            raise _no_key(one, path, ())
    return found


def _no_key(one: Reference, where: str, known: Iterable[str]) -> NotFoundError:
    meant = nearest(one.key, known)
    return NotFoundError(
        "secret.key_not_found",
        f"The secret {one.name!r} has no key {one.key!r} ({where}).",
        next_step=f"Did you mean {meant!r}?" if meant else f"Add it: clary secrets set {one.name} --{one.key}=@FILE.",
        field="key",
        details={"name": one.name, "key": one.key},
    )


def _told(error: AwsError, service: awsjson.Service, name: str, secret: str) -> ClaryError:
    """Return what Secrets Manager's refusal means for the person whose secret it is."""
    code = error.details.get("service_code")
    if code == "ResourceNotFoundException":
        return NotFoundError(
            "secret.not_found",
            f"There is no secret {name!r} in {service.region} ({secret}).",
            next_step=f"Make it: clary secrets set {name} --KEY=@FILE; then resume the run.",
            field="name",
            details={"name": name, "resource": secret},
        )
    if code == "InvalidRequestException" and "delet" in str(error.details.get("service_text")):
        return ConflictError(
            "secret.being_deleted",
            f"The secret {name!r} ({secret}) is marked for deletion.",
            next_step=f"Bring it back: aws secretsmanager restore-secret --secret-id {secret}; then resume the run.",
            field="name",
        )
    return error
