"""The container registry: its repository, the right to sign in, and the image with its architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from clary.doctor import simulation
from clary.doctor.findings import Check, Finding, failed, ok, unchecked, warning
from clary.errors import NotFoundError
from clary.sagemaker import permissions

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

PLATFORM = "linux/amd64"
"""What machines of SageMaker jobs are. Source: the instance types of CreateTrainingJob hold no Graviton family."""
OTHER_TOOLS = ("zenml", "kitaru")
"""Repositories that the tools Clary replaces expect where a registry names none: ZenML's is fixed, Kitaru's is its
``default_repository``."""
_REFERENCE = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.[^/]+"
    r"(/(?P<repository>[^:@]+))?(:(?P<tag>[^@]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_LONGEST_CONFIG = 1 << 20
_PATIENCE = 3
"""Seconds for the download of an image's configuration."""


class Reference(NamedTuple):
    """An image or repository in ECR."""

    account: str
    region: str
    repository: str | None
    tag: str | None
    digest: str | None

    @classmethod
    def read(cls, text: str) -> Reference | None:
        """Return the parts of an ECR reference; None for what is not in ECR."""
        found = _REFERENCE.fullmatch(text.rstrip("/"))
        if found is None:
            return None
        return cls(found["account"], found["region"], found["repository"], found["tag"], found["digest"])

    @property
    def names(self) -> dict[str, str]:
        """The members of a request that name the repository."""
        return {"registryId": self.account, "repositoryName": self.repository or ""}


def _repository(subject: Subject) -> Finding | None:
    """The repository that images are pushed to: there, or one that may be made when the first is pushed."""
    place = Reference.read(subject.stack.container_registry or "")
    if place is None:
        return None
    if place.region != subject.aws.region:
        return failed(
            f"The registry is in {place.region}, the stack in {subject.aws.region}.",
            f"Use the registry {place.account}.dkr.ecr.{subject.aws.region}.…: jobs pull from their own region.",
        )
    if place.repository is None:
        return _unnamed(subject, place)
    try:
        _describe(subject, place)
    except NotFoundError:
        return _missing(subject, place)
    return ok(place.repository)


def _unnamed(subject: Subject, place: Reference) -> Finding:
    """A registry without a repository: say which of the names that other tools take for granted are there."""
    there = []
    for name in OTHER_TOOLS:
        try:
            _describe(subject, place._replace(repository=name))
        except NotFoundError:
            continue
        there.append(name)
    if there:
        return ok(f"the registry names none; it has {' and '.join(there)}", "Name one: HOST/REPOSITORY.")
    return warning(
        f"The registry names no repository, and has neither {' nor '.join(OTHER_TOOLS)}, which ZenML and Kitaru "
        "(as its default_repository) expect.",
        f"aws ecr create-repository --repository-name zenml --region {place.region}, or name one of your own: "
        "HOST/REPOSITORY.",
    )


def _missing(subject: Subject, place: Reference) -> Finding:
    told = f"The registry has no repository {place.repository!r}."
    fix = f"aws ecr create-repository --repository-name {place.repository} --region {place.region}"
    may_create = permissions.granting("builder", subject.scope(), "ecr:CreateRepository")
    verdict = simulation.ask_for_caller(subject, [may_create] if may_create else [])
    if verdict.unknown or verdict.denied:
        return failed(told, fix)
    return warning(f"{told} These credentials may make it.", fix)


def _describe(subject: Subject, place: Reference) -> None:
    with subject.aws.call("ecr:DescribeRepositories", resource=place.repository) as ecr:
        ecr.describe_repositories(registryId=place.account, repositoryNames=[place.repository])


def _sign_in(subject: Subject) -> Finding | None:
    if Reference.read(subject.stack.container_registry or "") is None:
        return None
    with subject.aws.call("ecr:GetAuthorizationToken") as ecr:
        data = ecr.get_authorization_token()["authorizationData"]
    return ok("a token was given" if data else "no token is needed")


def _image(subject: Subject) -> Finding | None:
    """The image of flows that name none. Without tag and digest it is ``latest``, as for Docker."""
    named = subject.stack.image
    if named is None:
        return None
    image = Reference.read(named)
    if image is None or image.repository is None:
        return unchecked(
            f"{named} is not in Amazon ECR, which is where jobs pull from.",
            fix=f"Copy it there: `clary image copy {named}`.",
        )
    if image.region != subject.aws.region:
        return failed(
            f"The image {named} is in {image.region}, the stack in {subject.aws.region}.",
            f"Push it to {image.account}.dkr.ecr.{subject.aws.region}.…: jobs pull from their own region.",
        )
    manifest = _manifest(subject, image)
    if manifest is None:
        return failed(
            f"The image {named} does not exist.",
            f"Push it, or name one that `aws ecr list-images --repository-name {image.repository} --region "
            f"{image.region}` shows.",
        )
    platforms = sorted(set(_platforms(subject, image, manifest)))
    if PLATFORM not in platforms:
        return failed(
            f"The image {named} is for {', '.join(platforms) or 'no platform'}; SageMaker's machines are {PLATFORM}.",
            f"docker buildx build --platform {PLATFORM} --push --tag {named} .",
        )
    return ok(f"{named}, {PLATFORM}")


def _manifest(subject: Subject, image: Reference) -> Mapping[str, Any] | None:
    wanted = {"imageDigest": image.digest} if image.digest else {"imageTag": image.tag or "latest"}
    try:
        with subject.aws.call("ecr:BatchGetImage", resource=image.repository) as ecr:
            answer = ecr.batch_get_image(**image.names, imageIds=[wanted], acceptedMediaTypes=[*_INDEXES, *_MANIFESTS])
    except NotFoundError:
        return None
    found = answer.get("images", [])
    manifest: Mapping[str, Any] | None = json.loads(found[0]["imageManifest"]) if found else None
    return manifest


def _platforms(subject: Subject, image: Reference, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``os/architecture`` of an index's images; of a single one's, which only its configuration knows."""
    if "manifests" not in manifest:
        yield _platform(_configuration(subject, image, str(manifest["config"]["digest"])))
        return
    for each in manifest["manifests"]:
        if (platform := _platform(each.get("platform", {}))) != "unknown/unknown":  # that one is an attestation
            yield platform


def _platform(described: Mapping[str, Any]) -> str:
    return f"{described.get('os', 'unknown')}/{described.get('architecture', 'unknown')}"


def _configuration(subject: Subject, image: Reference, digest: str) -> Mapping[str, Any]:
    """Fetch the configuration of an image, a small JSON blob, from where ECR points to."""
    from urllib3 import PoolManager, Timeout

    from clary.sagemaker.translation import aws_errors

    with subject.aws.call("ecr:GetDownloadUrlForLayer", resource=image.repository) as ecr:
        url = ecr.get_download_url_for_layer(**image.names, layerDigest=digest)["downloadUrl"]
    with PoolManager(timeout=Timeout(total=_PATIENCE), retries=False) as pool, aws_errors("ecr:GetDownloadUrlForLayer"):
        answer = pool.request("GET", url, preload_content=False)
        with answer:
            described: Mapping[str, Any] = json.loads(answer.read(_LONGEST_CONFIG))
            return described


CHECKS = (
    Check(
        "repository",
        "Repository",
        _repository,
        ("ecr:DescribeRepositories", "sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy"),
    ),
    Check("registry-sign-in", "Registry sign-in", _sign_in, ("ecr:GetAuthorizationToken",)),
    Check("image", "Image", _image, ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")),
)
