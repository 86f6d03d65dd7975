"""Rules that training and processing jobs have in common: tags, network, image, channels' addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clary.sagemaker.reading import broken, demanded, doubtful, items, objects, repeated, section, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.sagemaker.findings import Finding

_ECR_IMAGE = re.compile(r"\d{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.[a-z0-9.-]+/.+")
_VPC_PLACES = (("VpcConfig",), ("NetworkConfig", "VpcConfig"))
_IMAGE_PLACES = (("AlgorithmSpecification", "TrainingImage"), ("AppSpecification", "ImageUri"))


def tag_keys_are_unique(request: Mapping[str, Any]) -> Iterator[Finding]:
    """A key may be given once."""
    yield from repeated("Tags", request, "Tags", "Key")


def tag_keys_are_not_reserved(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Keys that begin with ``aws:`` belong to AWS. Source: tagging rules of the AWS General Reference."""
    for index, tag in objects(request, "Tags"):
        key = text(tag, "Key")
        if key is not None and key.lower().startswith("aws:"):
            path = f"Tags[{index}].Key"
            yield broken(
                path,
                key,
                limit="no key that begins with aws:",
                message=f"{path} begins with aws:, which is reserved for AWS.",
                next_step="Give the tag another key.",
            )


def vpc_members_have_their_form(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Groups and subnets are easily swapped; the model's pattern lets either pass for the other."""
    for place in _VPC_PLACES:
        vpc = section(request, *place)
        for member, prefix in (("SecurityGroupIds", "sg-"), ("Subnets", "subnet-")):
            for index, value in enumerate(items(vpc, member)):
                if isinstance(value, str) and not value.startswith(prefix):
                    path = f"{'.'.join(place)}.{member}[{index}]"
                    yield broken(
                        path,
                        value,
                        limit=f"an id that begins with {prefix}",
                        message=f"{path} is '{value[:40]}'; it must begin with {prefix}.",
                        next_step=f"Give the ids of {member}, such as {prefix}0123456789abcdef0.",
                    )


def image_is_in_ecr(request: Mapping[str, Any]) -> Iterator[Finding]:
    """SageMaker pulls from Amazon ECR, or from a private registry reached through the VPC."""
    if section(request, "AlgorithmSpecification", "TrainingImageConfig").get("TrainingRepositoryAccessMode") == "Vpc":
        return
    for holder, member in _IMAGE_PLACES:
        image = text(section(request, holder), member)
        if image is not None and not _ECR_IMAGE.fullmatch(image):
            path = f"{holder}.{member}"
            yield doubtful(
                path,
                image,
                limit="an image in Amazon ECR, <account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>",
                message=f"{path} is not an address in Amazon ECR; SageMaker is likely to refuse it.",
                next_step="Push the image to a repository of ECR in the region of the job, and name it there.",
            )


def preferences_stand_alone(path: str, holder: Mapping[str, Any]) -> Iterator[Finding]:
    """InstancePreferences names the types, so InstanceType may not."""
    if "InstancePreferences" in holder and "InstanceType" in holder:
        yield broken(
            f"{path}.InstanceType",
            holder["InstanceType"],
            limit="InstanceType or InstancePreferences, not both",
            message=f"{path} has both InstanceType and InstancePreferences.",
            next_step="Put the type first in InstancePreferences, and leave InstanceType out.",
        )


def instances_are_named(path: str, holder: Mapping[str, Any], *others: str) -> Iterator[Finding]:
    """A type and a count are needed unless one of ``others`` says them."""
    if any(other in holder for other in others):
        return
    for member, example in (("InstanceType", "ml.m5.xlarge"), ("InstanceCount", "1")):
        if member not in holder:
            yield demanded(f"{path}.{member}", why="it says where the job runs.", next_step=f"Add it, e.g. {example}.")


RULES = (tag_keys_are_unique, tag_keys_are_not_reserved, vpc_members_have_their_form, image_is_in_ecr)
