"""ECR: repositories, layers, images, and signing in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import has
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, needs, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

REPOSITORY = ResourceType("ecr", "repository", "arn:${Partition}:ecr:${Region}:${Account}:repository/${RepositoryName}")


def _repository(call: Call) -> list[str]:
    return [REPOSITORY.arn(_in_registry(call), call.text("repositoryName"))]


def _repositories(call: Call) -> list[str]:
    return [REPOSITORY.arn(_in_registry(call), name) for name in call.texts("repositoryNames") or ["*"]]


def _in_registry(call: Call) -> Call:
    """Return the call as one of the account whose registry it names."""
    return replace(call, account=call.text("registryId") or call.account)


_given = text("resourceArn")

ROWS: Rows = {
    **needs("ecr", None, None, "GetAuthorizationToken", "DescribeRegistry", "GetAccountSetting", "PutAccountSetting"),
    "CreateRepository": [
        Need("ecr:CreateRepository", REPOSITORY, _repository, (Tagged("tags"),)),
        Need("ecr:TagResource", REPOSITORY, _repository, (Tagged("tags"),), when=has("tags")),
    ],
    "DescribeRepositories": [Need("ecr:DescribeRepositories", REPOSITORY, _repositories)],
    **needs(
        "ecr",
        REPOSITORY,
        _repository,
        "BatchCheckLayerAvailability",
        "BatchDeleteImage",
        "BatchGetImage",
        "CompleteLayerUpload",
        "DeleteLifecyclePolicy",
        "DeleteRepository",
        "DeleteRepositoryPolicy",
        "DescribeImages",
        "DescribeImageScanFindings",
        "GetDownloadUrlForLayer",
        "GetLifecyclePolicy",
        "GetRepositoryPolicy",
        "InitiateLayerUpload",
        "ListImages",
        "PutImage",
        "PutImageScanningConfiguration",
        "PutImageTagMutability",
        "PutLifecyclePolicy",
        "SetRepositoryPolicy",
        "StartImageScan",
        "UploadLayerPart",
    ),
    "ListTagsForResource": [Need("ecr:ListTagsForResource", REPOSITORY, _given)],
    "TagResource": [Need("ecr:TagResource", REPOSITORY, _given, (Tagged("tags"),))],
    "UntagResource": [Need("ecr:UntagResource", REPOSITORY, _given, (Key("aws:TagKeys", texts("tagKeys")),))],
}
