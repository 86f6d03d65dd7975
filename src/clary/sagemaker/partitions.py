"""Partitions of AWS: which one a region belongs to, by botocore's own table (``partitions.json``)."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from clary.errors import ClaryError, ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Partition(NamedTuple):
    """A part of AWS that shares no accounts with the others."""

    name: str
    """As ARNs write it: ``aws``, ``aws-cn``, ``aws-us-gov``, ``aws-iso``…, ``aws-eusc``."""
    dns_suffix: str
    """What its hosts end in, such as ``amazonaws.com.cn``."""
    regions: Sequence[str]
    """Those that the installed botocore lists; a newer one may be missing."""


def partition_of(region: str) -> Partition:
    """Return the partition of a region; also of one that is newer than botocore, by the form of its name.

    Raises ConfigError ``aws.unknown_region`` for a name that fits no partition.
    """
    for pattern, partition in _table():
        if region in partition.regions or re.fullmatch(pattern, region):
            return partition
    every = [known for _, partition in _table() for known in partition.regions]
    meant = nearest(region, every)
    raise ConfigError(
        "aws.unknown_region",
        f"AWS has no region {region!r}.",
        next_step=f"Did you mean {meant}?" if meant else "Give one such as eu-west-1; if it is new, upgrade boto3.",
        field="region",
    )


def doubt_about(region: str) -> str | None:
    """Return a warning for a region whose name has the right form but which botocore does not list; else None."""
    partition = partition_of(region)
    if region in partition.regions:
        return None
    meant = nearest(region, partition.regions)
    return (
        f"The installed boto3 knows no region {region} in the partition {partition.name}"
        + (f" (did you mean {meant}?)" if meant else "")
        + "; it is taken as it is."
    )


def doubt_about_fips(region: str) -> str | None:
    """Return a warning where botocore lists no FIPS endpoint of S3 for the region: most regions have none."""
    with_fips = _fips_regions(partition_of(region).name)
    if region in with_fips:
        return None
    there = f"those of its partition are {', '.join(with_fips)}" if with_fips else "none of its partition is"
    return f"The installed boto3 lists no FIPS endpoints for {region}; {there}."


def check_partition(region: str, arns: Mapping[str, str | None]) -> None:
    """Refuse ARNs of another partition than the region's: no role reaches from one into another.

    ``arns`` maps the fields of a stack to what they hold; None and what is no ARN are passed over.
    Raises ConfigError ``aws.other_partition`` or ``aws.unknown_region``.
    """
    partition = partition_of(region).name
    for name, arn in arns.items():
        found = arn.split(":")[1] if arn and arn.count(":") >= 5 and arn.startswith("arn:") else partition
        if found != partition:
            raise _other_partition(name, found, region, partition)


def _other_partition(name: str, found: str, region: str, partition: str) -> ClaryError:
    option = "--" + name.replace("_", "-")
    return ConfigError(
        "aws.other_partition",
        f"{option} is in the partition {found}, the region {region} in {partition}: nothing reaches across.",
        next_step=f"Give {option} as arn:{partition}:…, or a region of the partition {found}.",
        field=name,
    )


@functools.cache
def _table() -> Sequence[tuple[str, Partition]]:
    from botocore.loaders import create_loader

    data: Mapping[str, Any] = create_loader().load_data("partitions")
    return [
        (
            entry["regionRegex"],
            Partition(
                entry["id"],
                entry["outputs"]["dnsSuffix"],
                tuple(name for name in entry["regions"] if not name.endswith("-global")),
            ),
        )
        for entry in data["partitions"]
    ]


@functools.cache
def _fips_regions(partition: str) -> Sequence[str]:
    from botocore.loaders import create_loader

    data: Mapping[str, Any] = create_loader().load_data("endpoints")
    for entry in data["partitions"]:
        if entry["partition"] == partition:
            endpoints = entry["services"].get("s3", {}).get("endpoints", {})
            return sorted(region for region, known in endpoints.items() if _has_fips(known))
    return ()


def _has_fips(endpoint: Mapping[str, Any]) -> bool:
    return any("fips" in variant["tags"] for variant in endpoint.get("variants", ()))
