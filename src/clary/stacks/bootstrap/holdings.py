"""The bucket and the repository, which CloudFormation never deletes: what they hold, and their end when empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.errors import ConflictError

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws
    from clary.stacks.bootstrap.names import Names

_NO_BUCKET = frozenset({"NoSuchBucket", "404"})
_NO_REPOSITORY = "RepositoryNotFoundException"
_SHOWN = 5


def there(aws: Aws, names: Names) -> bool:
    """Tell whether the bucket or the repository is there."""
    return _objects(aws, names) is not None or _images(aws, names) is not None


def refuse_full(aws: Aws, names: Names) -> None:
    """Refuse to go on where the bucket or the repository holds something: ConflictError ``bootstrap.not_empty``."""
    held = []
    if keys := _objects(aws, names):
        held.append(f"the bucket {names.bucket} holds {_first(keys)}")
    if images := _images(aws, names):
        held.append(f"the repository {names.repository} holds the images {_first(images)}")
    if not held:
        return
    raise ConflictError(
        "bootstrap.not_empty",
        f"Nothing was deleted: {'; '.join(held)}.",
        next_step=f"Keep what you need, then empty them yourself: `aws s3 rm s3://{names.bucket} --recursive`, "
        f"`aws ecr batch-delete-image --repository-name {names.repository} …`.",
        details={"objects": keys or [], "images": images or []},
    )


def remove(aws: Aws, names: Names) -> None:
    """Delete bucket and repository where they are there; AWS itself refuses where they are no longer empty."""
    _ask(aws, "s3:DeleteBucket", names.bucket, _NO_BUCKET, lambda s3: s3.delete_bucket(Bucket=names.bucket))
    _ask(
        aws,
        "ecr:DeleteRepository",
        names.repository,
        {_NO_REPOSITORY},
        lambda ecr: ecr.delete_repository(repositoryName=names.repository),
    )


def _objects(aws: Aws, names: Names) -> list[str] | None:
    """Return the first keys in the bucket, older versions and markers of deletion too; None if there is no bucket."""
    answer = _ask(
        aws,
        "s3:ListBucketVersions",
        names.bucket,
        _NO_BUCKET,
        lambda s3: s3.list_object_versions(Bucket=names.bucket, MaxKeys=_SHOWN + 1),
    )
    if answer is None:
        return None
    return [item["Key"] for part in ("Versions", "DeleteMarkers") for item in answer.get(part) or ()]


def _images(aws: Aws, names: Names) -> list[str] | None:
    """Return the first images of the repository; None if there is none."""
    answer = _ask(
        aws,
        "ecr:ListImages",
        names.repository,
        {_NO_REPOSITORY},
        lambda ecr: ecr.list_images(repositoryName=names.repository, maxResults=_SHOWN + 1),
    )
    if answer is None:
        return None
    return [image.get("imageTag") or image["imageDigest"] for image in answer["imageIds"]]


def _first(found: list[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")


def _ask(aws: Aws, action: str, resource: str, absent: Any, request: Any) -> dict[str, Any] | None:
    """Return the answer, or None for one of the codes that say that the thing is not there."""
    with aws.call(action, resource=resource) as client:
        try:
            answer: dict[str, Any] = request(client)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in absent:
                return None
            raise
    return answer
