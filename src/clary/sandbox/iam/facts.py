"""What moto and the job store know of resources that exist: paths, ids, tags, and the policies attached to them."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from typing import TYPE_CHECKING, Any

from clary.sandbox.iam.evaluate import ResourcePolicy
from clary.sandbox.iam.policy import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clary.sandbox.store import SqliteJobStore

_KEY_ID_LENGTH = 36
"""moto writes the key's id before everything else into what it encrypts."""


class MotoFacts:
    """Looks things up (``call.Facts``), and finds the policies of resources."""

    def __init__(self, store: SqliteJobStore) -> None:
        self._store = store

    # -- names and ids

    def tags(self, arn: str) -> Mapping[str, str]:
        """Return the tags of a job or a role."""
        parts = arn.split(":", 5)
        if len(parts) == 6 and parts[2] == "sagemaker":
            return self._store.tags(arn)
        if len(parts) == 6 and parts[2] == "iam" and parts[5].startswith("role/"):
            from clary.sandbox.iam.principals import role_tags

            role = self._entity("role", parts[5].rpartition("/")[2], parts[4])
            return role_tags(role) if role is not None else {}
        return {}

    def path_of(self, kind: str, name: str, account: str) -> str:
        """Return path and name of a role, user or group."""
        found = self._entity(kind, name, account)
        return f"{found.path.lstrip('/')}{name}" if found is not None else name

    def boundary(self, role: str, account: str) -> str:
        """Return the ARN of a role's permissions boundary."""
        found = self._entity("role", role, account)
        return str(found.permissions_boundary_arn or "") if found is not None else ""

    @staticmethod
    def _entity(kind: str, name: str, account: str) -> Any | None:
        from moto.iam.models import iam_backends

        for backend in list(iam_backends[account].values()):
            if kind == "role":
                return next((role for role in list(backend.roles.values()) if role.name == name), None)
            return (backend.users if kind == "user" else backend.groups).get(name)
        return None

    def user_name(self, access_key: str) -> str:
        """Return the user whose access key this is."""
        from moto.iam.models import iam_backends

        for partitions in list(iam_backends.values()):
            for backend in list(partitions.values()):
                key = backend.access_keys.get(access_key)
                if key is not None:
                    return str(key.user_name or "")
        return ""

    def secret_name(self, name: str, account: str, region: str) -> str:
        """Return the last part of a secret's ARN."""
        from moto.secretsmanager.models import secretsmanager_backends

        if name.startswith("arn:"):
            return name.split(":", 6)[6]
        secrets = secretsmanager_backends[account][region].secrets
        found = secrets.get(name) if hasattr(secrets, "get") else None
        # Of a secret that is yet to be made nobody knows the six characters at the end.
        return found.arn.split(":", 6)[6] if found is not None else f"{name}-??????"

    def key_id(self, name: str, account: str, region: str) -> str:
        """Return the id of a KMS key for its id, ARN, alias, alias ARN, or what it has encrypted."""
        from moto.kms.models import kms_backends

        backend = kms_backends[account][region]
        plain = name.split(":", 5)[5] if name.startswith("arn:") else name
        if plain.startswith("alias/"):
            aliases = [alias for key in list(backend.keys.values()) for alias in list(key.aliases.values())]
            found = next((one.target_key_id for one in aliases if one.alias_name == plain), None)
            return str(found or plain)
        with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
            sealed = base64.b64decode(plain, validate=True)[:_KEY_ID_LENGTH].decode("ascii")
            if sealed in backend.keys:
                return sealed
        return plain.removeprefix("key/")

    def stack_id(self, name: str, account: str, region: str) -> str:
        """Return ``name/id`` of a CloudFormation stack."""
        from moto.cloudformation.models import cloudformation_backends

        if name.startswith("arn:"):
            return name.split(":", 5)[5].partition("/")[2]
        for stack in list(cloudformation_backends[account][region].stacks.values()):
            if stack.name == name and stack.status != "DELETE_COMPLETE":
                return str(stack.stack_id.split(":", 5)[5].partition("/")[2])
        return f"{name}/*"

    # -- policies of resources

    def policy_of(self, action: str, resource: str, region: str, account: str) -> ResourcePolicy | None:
        """Return the resource-based policy that counts for an action on a resource; None when there is none."""
        parts = resource.split(":", 5)
        if len(parts) < 6:
            return None
        service, owner, name = parts[2], parts[4] or account, parts[5]
        if service == "iam" and action != "sts:AssumeRole":
            return None
        find = _POLICIES.get(service)
        return find(name, owner, region) if find is not None else None


def _of_bucket(name: str, _: str, __: str) -> ResourcePolicy | None:
    from moto.s3.models import s3_backends

    bucket = name.partition("/")[0]
    for account, partitions in list(s3_backends.items()):
        for backend in list(partitions.values()):
            found = backend.buckets.get(bucket)
            if found is not None:
                policy = found.policy
                text = policy.decode() if isinstance(policy, bytes) else policy
                return ResourcePolicy(parse(text, "bucket policy") if text else None, str(account))
    return None


def _of_role(name: str, owner: str, _: str) -> ResourcePolicy | None:
    role = MotoFacts._entity("role", name.rpartition("/")[2], owner)
    if role is None:
        return ResourcePolicy(None, owner, decides=True)
    return ResourcePolicy(parse(role.assume_role_policy_document, "trust policy"), owner, decides=True)


def _of_key(name: str, owner: str, region: str) -> ResourcePolicy | None:
    from moto.kms.models import kms_backends

    key = kms_backends[owner][region].keys.get(name.removeprefix("key/"))
    if key is None:
        return None
    return ResourcePolicy(parse(key.policy, "key policy"), owner, decides=True)


def _of_queue(name: str, owner: str, region: str) -> ResourcePolicy | None:
    from moto.sqs.models import sqs_backends

    queue = sqs_backends[owner][region].queues.get(name)
    return _own(getattr(queue, "policy", None), "queue policy", owner)


def _of_repository(name: str, owner: str, region: str) -> ResourcePolicy | None:
    from moto.ecr.models import ecr_backends

    repository = ecr_backends[owner][region].repositories.get(name.removeprefix("repository/"))
    # Also without a policy: another account's repository then allows nothing.
    return _own(getattr(repository, "policy", None), "repository policy", owner) or ResourcePolicy(None, owner)


def _of_secret(name: str, owner: str, region: str) -> ResourcePolicy | None:
    from moto.secretsmanager.models import secretsmanager_backends

    secrets = secretsmanager_backends[owner][region].secrets
    arns = {one.arn: one for one in list(secrets.values())}
    found = next((one for arn, one in arns.items() if arn.endswith(f":{name}")), None)
    return _own(getattr(found, "policy", None), "secret policy", owner)


def _own(policy: Any, source: str, owner: str) -> ResourcePolicy | None:
    if not policy:
        return None
    return ResourcePolicy(parse(policy if isinstance(policy, str) else json.dumps(policy), source), owner)


_POLICIES: Mapping[str, Callable[[str, str, str], ResourcePolicy | None]] = {
    "s3": _of_bucket,
    "iam": _of_role,
    "kms": _of_key,
    "sqs": _of_queue,
    "ecr": _of_repository,
    "secretsmanager": _of_secret,
}
