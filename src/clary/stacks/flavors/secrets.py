"""The secrets managers that a stack can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from clary.stacks.flavors import Flavor, Option

_PREFIX = re.compile(r"[A-Za-z0-9/_+=.@-]{1,256}")


def _prefix(value: Any) -> str | None:
    fine = isinstance(value, str) and _PREFIX.fullmatch(value)
    return None if fine else "expected 1 to 256 letters, digits and /_+=.@-"


def _provide(flavor: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda options: {"secrets": {"flavor": flavor, **options}}


_COMMON = (
    Option("prefix", "What the names of Clary's secrets begin with; clary/ unless set.", _prefix, metavar="PREFIX"),
    Option("kms_key", "The KMS key that encrypts new secrets.", aliases=("kms_key_id",), metavar="KEY"),
)
_REGION = {"region_name": "Secrets lie in the stack's region.", "region": "Secrets lie in the stack's region."}

AWS = Flavor("secrets_manager", "aws", "AWS Secrets Manager.", _COMMON, _provide("aws"), refused=_REGION)
SSM = Flavor("secrets_manager", "ssm", "SSM Parameter Store.", _COMMON, _provide("ssm"), refused=_REGION)
LOCAL = Flavor("secrets_manager", "local", "An encrypted file of this machine.", (), _provide("local"))
