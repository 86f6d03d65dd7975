"""What bootstrap calls the things that it makes. Pure.

Account and partition are left open (CloudFormation's pseudo parameters) until AWS is asked, so that a template can be
shown to somebody without credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clary.errors import UsageError

LONGEST_NAME = 24
"""Characters of a name. ``clary-NAME-<12 digits>-<region>`` must fit a bucket's 63, ``clary-NAME-<region>-execution``
a role's 64; the longest region has 14."""
PREFIX = "clary"
"""Folder of the bucket that is the artifact store's root."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")


@dataclass(frozen=True)
class Names:
    """The names of everything, for one ``--name`` and region; ``account`` and ``partition`` may be placeholders."""

    name: str
    region: str
    account: str = "${AWS::AccountId}"
    partition: str = "${AWS::Partition}"
    suffix: str = "${AWS::URLSuffix}"

    @property
    def stack(self) -> str:
        """The CloudFormation stack."""
        return f"clary-{self.name}"

    @property
    def bucket(self) -> str:
        """The bucket. Names of buckets are shared by all accounts of a partition."""
        return f"clary-{self.name}-{self.account}-{self.region}"

    @property
    def repository(self) -> str:
        """The ECR repository."""
        return f"clary-{self.name}"

    @property
    def registry(self) -> str:
        """The address of the repository."""
        return f"{self.account}.dkr.ecr.{self.region}.{self.suffix}/{self.repository}"

    @property
    def artifact_store(self) -> str:
        """The root of the artifact store."""
        return f"s3://{self.bucket}/{PREFIX}"

    def role(self, kind: str) -> str:
        """Return the name of a role; the region is in it, for roles are shared by all regions of an account."""
        return f"clary-{self.name}-{self.region}-{kind}"

    def role_arn(self, kind: str) -> str:
        """Return the ARN of a role."""
        return f"arn:{self.partition}:iam::{self.account}:role/{self.role(kind)}"


def check_name(name: str) -> None:
    """Refuse a name that cannot be part of a bucket's: UsageError ``bootstrap.bad_name``."""
    if _NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return
    raise UsageError(
        "bootstrap.bad_name",
        f"{name!r} cannot be the name: it becomes part of the names of a bucket, a repository and roles.",
        next_step=f"Use up to {LONGEST_NAME} of a-z, 0-9 and single '-', beginning with a letter.",
        field="name",
    )


def check_region(region: str) -> None:
    """Refuse what has not the form of a region: UsageError ``bootstrap.bad_region``."""
    if not _REGION.fullmatch(region):
        raise UsageError(
            "bootstrap.bad_region",
            f"{region!r} is not a region.",
            next_step="Give one such as eu-central-1; `aws account list-regions` lists yours.",
            field="region",
        )
