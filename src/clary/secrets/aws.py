"""Secrets in AWS Secrets Manager: one secret a name, a JSON object of keys and texts.

Facts: a secret holds at most 65,536 bytes; a deleted one is kept for 7 to 30 days, in which its name is taken; a list
may lag behind by a few moments. Source: the Secrets Manager API reference and user guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError, ConflictError, NotFoundError, ValidationError
from clary.files import size_text
from clary.secrets import store
from clary.secrets.names import DEFAULT_PREFIX, check_name
from clary.secrets.references import values_of

if TYPE_CHECKING:
    from clary.secrets.store import Caller, Change, Entry, Values

LARGEST = 65_536
"""Bytes of a secret."""
RECOVERY_DAYS = 30
"""For which a deleted secret can be brought back: the service's own default."""
OWNER_TAG = "clary:private-to"


class AwsSecrets:
    """The secrets of one account and region whose names begin with the prefix."""

    flavor = "aws"

    def __init__(self, aws: Caller, *, prefix: str = DEFAULT_PREFIX, kms_key: str | None = None) -> None:
        """``kms_key`` encrypts new secrets; None: the account's key ``aws/secretsmanager``."""
        self._aws = aws
        self._prefix = prefix
        self._kms_key = kms_key

    @property
    def place(self) -> str:
        """Where it is, in words for people."""
        return f"AWS Secrets Manager ({self._prefix}…)"

    def entries(self) -> list[Entry]:
        """Return every secret, by name in order; those that are being deleted are left out."""
        found = []
        with self._aws.call("secretsmanager:ListSecrets") as client:
            pages = client.get_paginator("list_secrets")
            for page in pages.paginate(Filters=[{"Key": "name", "Values": [self._prefix]}]):
                found += [self._entry(one) for one in page["SecretList"] if one["Name"].startswith(self._prefix)]
        return sorted(found, key=lambda entry: entry.name)

    def exists(self, name: str) -> bool:
        """Tell whether there is a secret of that name; one that is being deleted is not."""
        try:
            with self._about(name, "DescribeSecret") as client:
                return "DeletedDate" not in client.describe_secret(SecretId=self._id(name))
        except NotFoundError:
            return False

    def read(self, name: str) -> Values:
        """Return what a secret holds.

        Raises NotFoundError (``secret.not_found``), ConflictError (``secret.being_deleted``), ConfigError
        (``secret.not_keys``), PermissionDeniedError and the other errors of AWS.
        """
        with self._about(name, "GetSecretValue") as client:
            return values_of(client.get_secret_value(SecretId=self._id(name)).get("SecretString") or "", name)

    def edit(self, name: str, change: Change, *, private_to: str | None = None) -> None:
        """Make or change a secret. Two changes at the same moment: the later one wins, whole.

        Raises ValidationError (``secret.too_large``) besides what ``read`` and ``change`` raise.
        """
        check_name(name)
        try:
            before: Values | None = self.read(name)
        except NotFoundError:
            before = None
        text = self._text(name, change(before))
        if before is None:
            self._make(name, text, private_to)
            return
        with self._about(name, "PutSecretValue") as client:
            client.put_secret_value(SecretId=self._id(name), SecretString=text)
        if private_to:
            with self._about(name, "TagResource") as client:
                client.tag_resource(SecretId=self._id(name), Tags=[{"Key": OWNER_TAG, "Value": private_to}])

    def delete(self, name: str, *, force: bool = False) -> float | None:
        """Delete a secret: it can be brought back for 30 days, unless ``force`` deletes it at once."""
        how: dict[str, Any] = {"ForceDeleteWithoutRecovery": True} if force else {"RecoveryWindowInDays": RECOVERY_DAYS}
        if force:
            self._check_known(name)  # the service does not tell: it takes any name then
        with self._about(name, "DeleteSecret") as client:
            answer = client.delete_secret(SecretId=self._id(name), **how)
        return None if force else float(answer["DeletionDate"].timestamp())

    def _id(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _entry(self, one: Mapping[str, Any]) -> Entry:
        changed = one.get("LastChangedDate")
        tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags") or ()}
        return store.Entry(
            one["Name"].removeprefix(self._prefix),
            changed=None if changed is None else changed.timestamp(),
            private_to=tags.get(OWNER_TAG),
        )

    def _make(self, name: str, text: str, private_to: str | None) -> None:
        options: dict[str, Any] = {"KmsKeyId": self._kms_key} if self._kms_key else {}
        if private_to:
            options["Tags"] = [{"Key": OWNER_TAG, "Value": private_to}]
        with self._about(name, "CreateSecret") as client:
            client.create_secret(
                Name=self._id(name), SecretString=text, Description="Made by clary secrets.", **options
            )

    def _text(self, name: str, values: Mapping[str, str]) -> str:
        text = json.dumps(dict(values), ensure_ascii=False)
        size = len(text.encode())
        if size <= LARGEST:
            return text
        raise ValidationError(
            "secret.too_large",
            f"The secret {name!r} would have {size_text(size)}; Secrets Manager takes {size_text(LARGEST)}.",
            next_step="Spread it over several secrets; keep large files in S3, encrypted with a KMS key.",
            field="values",
        )

    def _check_known(self, name: str) -> None:
        with self._about(name, "DescribeSecret") as client:
            client.describe_secret(SecretId=self._id(name))

    @contextmanager
    def _about(self, name: str, operation: str) -> Iterator[Any]:
        """Give the client for an operation on one secret; its refusals become those of secrets."""
        try:
            with self._aws.call(f"secretsmanager:{operation}", resource=self._id(name)) as client:
                yield client
        except ClaryError as error:
            raise self._told(name, error) from error

    def _told(self, name: str, error: ClaryError) -> ClaryError:
        code, text = error.details.get("service_code"), str(error.details.get("service_text"))
        if code == "ResourceNotFoundException":
            return store.not_found(name, self, self._known())
        if code == "ResourceExistsException":
            return store.exists_already(name, self)
        if code == "InvalidRequestException" and "delet" in text:
            return ConflictError(
                "secret.being_deleted",
                f"The secret {name!r} in {self.place} is marked for deletion; until then its name is taken.",
                next_step=f"Bring it back: aws secretsmanager restore-secret --secret-id {self._id(name)}; or delete "
                f"it at once: clary secrets delete {name} --force.",
                field="name",
            )
        return error

    def _known(self) -> list[str]:
        try:
            return [entry.name for entry in self.entries()]
        except ClaryError:
            return []  # without the right to list there is no nearest name to tell
