"""Secrets in SSM Parameter Store: one SecureString a key, at ``/<prefix>/NAME/KEY``.

Facts: a standard parameter holds at most 4,096 bytes; its name may hold letters, digits and ``_.-/``; SSM has no
transaction over several. Source: the SSM API reference, PutParameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clary.errors import ClaryError, ConfigError, UsageError, ValidationError
from clary.files import size_text
from clary.secrets import store
from clary.secrets.names import DEFAULT_PREFIX, check_name

if TYPE_CHECKING:
    from clary.secrets.store import Caller, Change, Entry, Values

LARGEST = 4096
"""Bytes of a standard parameter."""
_DELETED_AT_ONCE = 10
"""Names that one DeleteParameters takes."""
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class SsmSecrets:
    """The parameters of one account and region under the prefix."""

    flavor = "ssm"

    def __init__(self, aws: Caller, *, prefix: str = DEFAULT_PREFIX, kms_key: str | None = None) -> None:
        """``kms_key`` encrypts new values; None: the account's key ``aws/ssm``.

        Raises ConfigError (``secret.bad_prefix``) for a prefix that no parameter's name can begin with.
        """
        self._aws = aws
        self._root = path_root(prefix)
        self._kms_key = kms_key

    @property
    def place(self) -> str:
        """Where it is, in words for people."""
        return f"SSM Parameter Store ({self._root}/…)"

    def entries(self) -> list[Entry]:
        """Return every secret, by name in order."""
        changed: dict[str, float] = {}
        wanted = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"{self._root}/"]}]
        with self._aws.call("ssm:DescribeParameters") as client:
            for page in client.get_paginator("describe_parameters").paginate(ParameterFilters=wanted):
                for one in page["Parameters"]:
                    name, _, key = one["Name"].removeprefix(f"{self._root}/").partition("/")
                    if key and "/" not in key:
                        changed[name] = max(changed.get(name, 0.0), one["LastModifiedDate"].timestamp())
        return [store.Entry(name, changed=when) for name, when in sorted(changed.items())]

    def exists(self, name: str) -> bool:
        """Tell whether there is a secret of that name."""
        return any(entry.name == name for entry in self.entries())

    def read(self, name: str) -> Values:
        """Return what a secret holds; raises NotFoundError (``secret.not_found``) and the errors of AWS."""
        found = self._values(name)
        if not found:
            raise store.not_found(name, self, self._known())
        return found

    def edit(self, name: str, change: Change, *, private_to: str | None = None) -> None:
        """Make or change a secret, key by key; what is cut off half way is put right by doing it again.

        Raises ValidationError (``secret.too_large``, ``secret.empty_value``, ``secret.no_values``) besides what
        ``read`` and ``change`` raise; UsageError (``secret.not_private``) for ``private_to``, which no list could show.
        """
        check_name(name)
        if private_to:
            raise UsageError(
                "secret.not_private",
                "SSM Parameter Store has no place for the mark of a private secret.",
                next_step="Leave --private out, or keep the secret in Secrets Manager: --backend aws.",
                field="private",
            )
        before = self._values(name)
        after = change(before or None)
        self._check(name, after)
        for key, value in after.items():
            if before.get(key) != value:
                self._put(name, key, value)
        self._remove(name, [key for key in before if key not in after])

    def delete(self, name: str, *, force: bool = False) -> float | None:  # noqa: ARG002 - SSM keeps nothing back
        """Delete a secret at once."""
        self._remove(name, list(self.read(name)))
        return None

    def _values(self, name: str) -> Values:
        path, found = f"{self._root}/{name}", dict[str, str]()
        with self._aws.call("ssm:GetParametersByPath", resource=path) as client:
            pages = client.get_paginator("get_parameters_by_path")
            for page in pages.paginate(Path=path, Recursive=False, WithDecryption=True):
                found |= {one["Name"].removeprefix(f"{path}/"): str(one["Value"]) for one in page["Parameters"]}
        return found

    def _check(self, name: str, values: Mapping[str, str]) -> None:
        if not values:
            raise ValidationError(
                "secret.no_values",
                f"The secret {name!r} would have no key left, and SSM keeps no secret without one.",
                next_step=f"Delete it: clary secrets delete {name}.",
                field="values",
            )
        for key, value in values.items():
            size = len(value.encode())
            if not size:
                raise ValidationError(
                    "secret.empty_value",
                    f"The value of {key!r} is empty, which SSM does not take.",
                    next_step="Leave the key out, or keep the secret in Secrets Manager: --backend aws.",
                    field=key,
                )
            if size > LARGEST:
                raise ValidationError(
                    "secret.too_large",
                    f"The value of {key!r} has {size_text(size)}; an SSM parameter takes {size_text(LARGEST)}.",
                    next_step="Keep it in Secrets Manager, which takes 64 KiB: --backend aws.",
                    field=key,
                )

    def _put(self, name: str, key: str, value: str) -> None:
        path = f"{self._root}/{name}/{key}"
        options = {"KeyId": self._kms_key} if self._kms_key else {}
        with self._aws.call("ssm:PutParameter", resource=path) as client:
            client.put_parameter(Name=path, Value=value, Type="SecureString", Overwrite=True, **options)

    def _remove(self, name: str, keys: list[str]) -> None:
        paths = [f"{self._root}/{name}/{key}" for key in keys]
        for start in range(0, len(paths), _DELETED_AT_ONCE):
            with self._aws.call("ssm:DeleteParameters", resource=f"{self._root}/{name}") as client:
                client.delete_parameters(Names=paths[start : start + _DELETED_AT_ONCE])

    def _known(self) -> list[str]:
        try:
            return [entry.name for entry in self.entries()]
        except ClaryError:
            return []  # without the right to list there is no nearest name to tell


def path_root(prefix: str) -> str:
    """Return the path that a prefix stands for: ``/clary`` for ``clary/``; raises ConfigError ``secret.bad_prefix``."""
    plain = prefix.strip("/")
    if _PREFIX.fullmatch(plain) and not plain.lower().startswith(("aws", "ssm")):
        return f"/{plain}"
    raise ConfigError(
        "secret.bad_prefix",
        f"No SSM parameter's name can begin with {prefix!r}.",
        next_step="Use letters, digits, '_', '.', '-' and '/', not beginning with aws or ssm.",
        field="secrets.prefix",
    )
