"""Rules that training and processing jobs have in common: tags, network, image, channels' addresses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clary.sagemaker.reading import broken, demanded, doubtful, items, objects, repeated, section, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.sagemaker.findings import Finding

_ECR_IMAGE = re.compile(r"\d{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.[a-z0-9.-]+/.+")
_TYPE = re.compile(r"ml\.(?P<family>[a-z0-9-]+)\..+")
# EC2 names families with local NVMe disks by a "d" behind the generation (m5d, g4dn, p4de); these have them without it.
# Sources: EC2's pages of instance types, and the documentation of ResourceConfig.VolumeSizeInGB.
_LOCAL_DISKS = re.compile(r"[a-z]+\d+[a-z]*d[a-z]*|g[5-9]e?|p5(e|en)?|p6e?-.+|trn\d+n?")
_ACCELERATED = re.compile(r"(p|g|trn)\d.*")
_VPC_PLACES = (("VpcConfig",), ("NetworkConfig", "VpcConfig"))
_MACHINE_PLACES = (("ResourceConfig",), ("ProcessingResources", "ClusterConfig"))
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


def has_local_disks(instance_type: str) -> bool:
    """Tell whether machines of the type have NVMe disks of their own, which they use in place of a volume."""
    return bool((found := _TYPE.fullmatch(instance_type)) and _LOCAL_DISKS.fullmatch(found["family"]))


def is_accelerated(instance_type: str) -> bool:
    """Tell whether the type is of the p, g or trn families."""
    return bool((found := _TYPE.fullmatch(instance_type)) and _ACCELERATED.fullmatch(found["family"]))


def preferences_stand_alone(path: str, holder: Mapping[str, Any]) -> Iterator[Finding]:
    """InstancePreferences names the types, so InstanceType may not; what was selected is the service's to say."""
    for member in ("SelectedInstanceType", "SelectedInstanceCount"):
        if member in holder:
            yield broken(
                f"{path}.{member}",
                holder[member],
                limit="in answers only",
                message=f"{path}.{member} is for SageMaker to say.",
                next_step="Leave it out.",
            )
    if "InstancePreferences" not in holder:
        return
    if "InstanceType" in holder:
        yield broken(
            f"{path}.InstanceType",
            holder["InstanceType"],
            limit="InstanceType or InstancePreferences, not both",
            message=f"{path} has both InstanceType and InstancePreferences.",
            next_step="Put the type first in InstancePreferences, and leave InstanceType out.",
        )
    yield from repeated(f"{path}.InstancePreferences", holder, "InstancePreferences", "InstanceType")
    yield from _counts_are_said_once(path, holder)


def _counts_are_said_once(path: str, holder: Mapping[str, Any]) -> Iterator[Finding]:
    """Either the job has one count, or every preference has its own. Source: reference of InstancePreference."""
    preferences = list(objects(holder, "InstancePreferences"))
    counted = [index for index, preference in preferences if "InstanceCount" in preference]
    where = f"{path}.InstanceCount"
    if "InstanceCount" in holder and counted:
        yield broken(
            where,
            holder["InstanceCount"],
            limit="one count for the job, or one for every preference",
            message=f"{where} is given beside the counts of InstancePreferences.",
            next_step="Leave one of them out.",
        )
    elif "InstanceCount" not in holder and len(counted) < len(preferences):
        yield demanded(
            where,
            why="not every entry of InstancePreferences has its own.",
            next_step="Add it, or give every preference a count.",
        )


def volume_key_fits_the_machines(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Local NVMe disks encrypt by themselves and take no key. Source: reference of ResourceConfig.VolumeKmsKeyId."""
    for place in _MACHINE_PLACES:
        holder = section(request, *place)
        if "VolumeKmsKeyId" not in holder:
            continue
        types = [text(holder, "InstanceType")]
        for name in ("InstancePreferences", "InstanceGroups"):
            types += [text(entry, "InstanceType") for _, entry in objects(holder, name)]
        local = [name for name in types if name is not None and has_local_disks(name)]
        if local:
            path = f"{'.'.join(place)}.VolumeKmsKeyId"
            yield broken(
                path,
                holder["VolumeKmsKeyId"],
                limit="only for types without local disks",
                message=f"{path} is given, but {', '.join(local)} has NVMe disks, which encrypt by themselves.",
                next_step="Leave VolumeKmsKeyId out, or name a type without local disks, such as ml.m5.xlarge.",
            )


def instances_are_named(path: str, holder: Mapping[str, Any], *others: str) -> Iterator[Finding]:
    """A type and a count are needed unless one of ``others`` says them."""
    if any(other in holder for other in others):
        return
    for member, example in (("InstanceType", "ml.m5.xlarge"), ("InstanceCount", "1")):
        if member not in holder:
            yield demanded(f"{path}.{member}", why="it says where the job runs.", next_step=f"Add it, e.g. {example}.")


RULES = (
    tag_keys_are_unique,
    tag_keys_are_not_reserved,
    vpc_members_have_their_form,
    image_is_in_ecr,
    volume_key_fits_the_machines,
)
