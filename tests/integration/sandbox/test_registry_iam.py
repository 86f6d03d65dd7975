"""The registry while IAM policies are enforced: pushing and pulling need what they need on AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clary import testing
from clary.ids import new_id
from integration.sandbox.test_iam import User, allow
from oci_images import Client, config, digest_of, error_of, layer, manifest, password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.testing import Sandbox

_PUSH = ["InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage", "BatchCheckLayerAvailability"]
_PULL = ["BatchGetImage", "GetDownloadUrlForLayer"]


@pytest.fixture(scope="module")
def strict() -> Iterator[Sandbox]:
    with testing.sandbox(enforce_rates=False, iam="enforce") as running:
        yield running


@pytest.fixture
def user(strict: Sandbox) -> User:
    return User(strict, f"u-{new_id().lower()}")


@pytest.fixture
def repository(strict: Sandbox) -> str:
    name = f"team/{new_id().lower()}"
    strict.client("ecr").create_repository(repositoryName=name)
    return name


def arn(running: Sandbox, repository: str) -> str:
    return f"arn:aws:ecr:{running.region}:{running.account}:repository/{repository}"


def actions(*names: str) -> list[str]:
    return [f"ecr:{name}" for name in names]


def asked(client: Client, repository: str, admin: Client) -> dict[str, Any]:
    """What each action is asked for; each leaves everything ready for the next."""
    one = layer(("a", "1"))
    said = config([one])
    admin.push_blob(repository, said)
    begun: dict[str, str] = {}

    def begin() -> Any:
        answer = client.ask("POST", f"/v2/{repository}/blobs/uploads/")
        begun["at"] = str(answer.headers.get("Location"))
        return answer

    return {
        "InitiateLayerUpload": begin,
        "UploadLayerPart": lambda: client.ask("PATCH", begun["at"], one.data),
        "CompleteLayerUpload": lambda: client.ask("PUT", f"{begun['at']}?digest={one.digest}"),
        "BatchCheckLayerAvailability": lambda: client.ask("HEAD", f"/v2/{repository}/blobs/{one.digest}"),
        "PutImage": lambda: client.ask("PUT", f"/v2/{repository}/manifests/v1", manifest(said, [one])),
        "BatchGetImage": lambda: client.ask("GET", f"/v2/{repository}/manifests/v1"),
        "GetDownloadUrlForLayer": lambda: client.ask("GET", f"/v2/{repository}/blobs/{digest_of(said)}"),
        "ListImages": lambda: client.ask("GET", f"/v2/{repository}/tags/list"),
    }


def test_each_request_needs_its_action_on_the_repository(strict: Sandbox, user: User, repository: str) -> None:
    token = allow("ecr:GetAuthorizationToken")
    user.may(token)
    client = Client(strict.endpoint, password(user.client("ecr")))
    admin = Client(strict.endpoint, password(strict.client("ecr")))
    given: list[str] = []
    for action, ask in asked(client, repository, admin).items():
        user.may(token, allow(actions(*given, action), arn(strict, "team/another")))
        refusal = ask()
        assert refusal.status == 403
        if action != "BatchCheckLayerAvailability":  # HEAD has no words
            message = error_of(refusal)[2]
            assert (
                f"{user.arn} is not authorized to perform: ecr:{action} on resource: {arn(strict, repository)}"
                in message
            )
        given.append(action)
        user.may(token, allow(actions(*given), arn(strict, repository)))
        assert ask().status < 400, action


def test_a_repositorys_policy_counts_too(strict: Sandbox, user: User, repository: str) -> None:
    import json

    user.may(allow(["ecr:GetAuthorizationToken", *actions(*_PUSH, *_PULL)]))
    client = Client(strict.endpoint, password(user.client("ecr")))
    client.push(repository, "v1", layer(("a", "1")))
    deny = {"Effect": "Deny", "Principal": {"AWS": user.arn}, "Action": "ecr:BatchGetImage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    strict.client("ecr").set_repository_policy(repositoryName=repository, policyText=policy)
    answer = client.ask("GET", f"/v2/{repository}/manifests/v1")
    assert "with an explicit deny in a resource-based policy" in error_of(answer)[2]


def test_mounting_needs_the_right_to_read_the_source(strict: Sandbox, user: User, repository: str) -> None:
    admin = strict.client("ecr")
    admin.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    source = f"{repository}-source"
    admin.create_repository(repositoryName=source)
    one = layer(("a", "1"))
    Client(strict.endpoint, password(admin)).push(source, "v1", one)
    token, push = allow("ecr:GetAuthorizationToken"), allow(actions(*_PUSH), arn(strict, repository))
    user.may(token, push)
    client = Client(strict.endpoint, password(user.client("ecr")))
    mount = f"/v2/{repository}/blobs/uploads/?mount={one.digest}&from={source}"
    assert client.ask("POST", mount).status == 202
    user.may(token, push, allow("ecr:GetDownloadUrlForLayer", arn(strict, source)))
    assert client.ask("POST", mount).status == 201


def test_the_token_of_a_user_that_is_gone(strict: Sandbox, user: User, repository: str) -> None:
    user.may(allow("ecr:*"))
    client = Client(strict.endpoint, password(user.client("ecr")))
    assert client.ask("GET", f"/v2/{repository}/tags/list").status == 200
    user.iam.delete_access_key(UserName=user.name, AccessKeyId=user.keys["aws_access_key_id"])
    assert client.ask("GET", f"/v2/{repository}/tags/list").status == 403
