"""The CloudFormation template: bucket, repository, and three roles with the least policies. Pure.

It holds pseudo parameters in place of account and partition, so it is the same for everybody and can be shown without
credentials. What holds data is kept when the CloudFormation stack is deleted; ``destroy`` takes it away when empty.

Not in it, for an account and region have them once, whoever made them, and CloudFormation fails on what is there: the
log groups of SageMaker's jobs and the schedule group (see ``shared``).
"""

from __future__ import annotations

import json
import re
from typing import Any

from clary.sagemaker.permissions import Scope, policy, trust
from clary.stacks.bootstrap.names import PREFIX, Names

ROLES = {
    "execution": "the role that jobs run under",
    "agent": "the role of a server or agent",
    "scheduler": "the role that starts the next attempt of a suspended run",
}
"""The roles that are made, and what each is for."""
SCRATCH = {f"{PREFIX}/build-context-store/": 30}
"""Prefixes whose objects expire, with the days that they are kept: what was packed for one build of an image. No other
prefix is scratch: runs, values, code, runtime, specs and cache are what a run is resumed and read from."""
ABORT_UPLOADS_AFTER = 7
"""Days after which the parts of an upload that was never finished are deleted."""
UNTAGGED_IMAGES = 30
"""Days for which an image without a tag is kept."""
_KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""Never deleted with the CloudFormation stack, but taken back when the stack could not be made at all."""
_TAGS = [{"Key": "clary:made-by", "Value": "clary bootstrap"}]


def template(names: Names) -> dict[str, Any]:
    """Return the template for a name and region."""
    resources = {
        "Artifacts": _bucket(names),
        "ArtifactsPolicy": _bucket_policy(),
        "Images": _repository(names),
    }
    for kind in ROLES:
        resources |= _role(kind, names)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Clary: artifact store, image repository and roles of '{names.name}'.",
        "Resources": resources,
        "Outputs": {
            "ArtifactStore": _output("The artifact store of the stack.", names.artifact_store),
            "ContainerRegistry": _output("Where images are pushed to.", names.registry),
            **{f"{kind.title()}Role": _output(f"{ROLES[kind]}.", names.role_arn(kind)) for kind in ROLES},
        },
    }


def scope(names: Names) -> Scope:
    """Return what the policies of the roles are about."""
    repository = f"arn:{names.partition}:ecr:{names.region}:{names.account}:repository/{names.repository}"
    return Scope(
        partition=names.partition,
        region=names.region,
        account=names.account,
        bucket=names.bucket,
        prefix=PREFIX,
        execution_role=names.role_arn("execution"),
        scheduler_role=names.role_arn("scheduler"),
        registry=repository,
        images=(repository,),
        secrets="aws",
    )


def body(document: dict[str, Any]) -> str:
    """Return a template as it is sent."""
    return json.dumps(document, separators=(",", ":"))


def _bucket(names: Names) -> dict[str, Any]:
    expiring: list[dict[str, Any]] = [
        {"Id": f"expire-{number}", "Status": "Enabled", "Prefix": prefix, "ExpirationInDays": days}
        for number, (prefix, days) in enumerate(SCRATCH.items(), 1)
    ]
    unfinished = {
        "Id": "abort-unfinished-uploads",
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_AFTER},
    }
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    properties = {
        "BucketName": _filled(names.bucket),
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
        "LifecycleConfiguration": {"Rules": [unfinished, *expiring]},
        "Tags": _TAGS,
    }
    return {"Type": "AWS::S3::Bucket", **_KEPT, "Properties": properties}


def _bucket_policy() -> dict[str, Any]:
    arn = {"Fn::GetAtt": ["Artifacts", "Arn"]}
    statement = {
        "Sid": "EncryptedConnectionsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, {"Fn::Join": ["", [arn, "/*"]]}],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {
        "Type": "AWS::S3::BucketPolicy",
        **_KEPT,
        "Properties": {"Bucket": {"Ref": "Artifacts"}, "PolicyDocument": document},
    }


def _repository(names: Names) -> dict[str, Any]:
    counted = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days"}
    rule = {
        "rulePriority": 1,
        "description": "Images that no tag names any more",
        "selection": {**counted, "countNumber": UNTAGGED_IMAGES},
        "action": {"type": "expire"},
    }
    properties = {
        "RepositoryName": names.repository,
        "ImageScanningConfiguration": {"ScanOnPush": True},
        "LifecyclePolicy": {"LifecyclePolicyText": json.dumps({"rules": [rule]})},
        "Tags": _TAGS,
    }
    return {"Type": "AWS::ECR::Repository", **_KEPT, "Properties": properties}


def _role(kind: str, names: Names) -> dict[str, Any]:
    """Return a role and its policy, as a resource of its own: so either can change without the other."""
    about = scope(names)
    role = {
        "RoleName": names.role(kind),
        "Description": f"Clary: {ROLES[kind]}",
        "AssumeRolePolicyDocument": _filled(trust(kind, about)),
        "Tags": _TAGS,
    }
    rights = {
        "PolicyName": "clary",
        "PolicyDocument": _filled(policy(kind, about)),
        "Roles": [{"Ref": f"{kind.title()}Role"}],
    }
    return {
        f"{kind.title()}Role": {"Type": "AWS::IAM::Role", "Properties": role},
        f"{kind.title()}Policy": {"Type": "AWS::IAM::Policy", "Properties": rights},
    }


def _output(description: str, value: str) -> dict[str, Any]:
    return {"Description": description[:1].upper() + description[1:], "Value": _filled(value)}


def _filled(value: Any) -> Any:
    """Return a value in which CloudFormation fills the pseudo parameters of each text."""
    if isinstance(value, dict):
        return {name: _filled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner) for inner in value]
    if not isinstance(value, str) or "${AWS::" not in value:
        return value
    return {"Fn::Sub": re.sub(r"\$\{(?!AWS::)", "${!", value)}  # IAM's own variables are left to IAM
