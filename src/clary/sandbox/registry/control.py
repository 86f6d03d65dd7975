"""The operations of ECR's API that are about images, layers, tokens and settings; moto answers the others.

Texts of refusals are those of ECR's API reference, or moto's, which has them from there.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.registry import catalogue, repositories
from clary.sandbox.registry.answers import no_repository
from clary.sandbox.registry.names import DOCKER_LAYER, Place
from clary.sandbox.registry.registry import SETTINGS
from clary.sandbox.registry.tokens import TOKEN_SECONDS, USER, Grant
from clary.sandbox.wire import ApiError, json_response, read_body

if TYPE_CHECKING:
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.wire import Request, Response

_PART_BYTES = 10 * 1024 * 1024
"""The part size that InitiateLayerUpload recommends."""


@dataclass(frozen=True)
class Command:
    """One request of the API."""

    registry: Registry
    request: Request
    account: str
    """Of the caller."""
    params: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """The repository that is meant; raises ApiError when there is none or it may not be used."""
        owner = str(self.params.get("registryId") or self.account)
        place = Place(owner, self.request.region, str(self.params.get("repositoryName", "")))
        lack = self.registry.rights.refuses(str(self.request.access_key), self.request.operation, place)
        if lack is not None:
            raise ApiError("AccessDeniedException", lack)
        if repositories.repository(place) is None:
            raise ApiError("RepositoryNotFoundException", no_repository(place))
        return place


class Control:
    """The API's side of the registry."""

    def __init__(self, registry: Registry, gateway: Gateway) -> None:
        self._registry = registry
        self._gateway = gateway

    def handle(self, request: Request) -> Response:
        """Answer one request of ECR's API."""
        handler = _OPERATIONS.get(request.operation)
        if handler is None:
            return self._gateway.handle(request)
        params = json.loads(read_body(request.environ) or b"{}")
        command = Command(self._registry, request, self._gateway.account_of(request.access_key), params)
        if request.operation == "DeleteRepository":
            return self._delete_repository(command)
        return json_response(handler(command))

    def _delete_repository(self, command: Command) -> Response:
        place = command.place
        if self._registry.store.manifests(place) and not command.params.get("force"):
            raise ApiError(
                "RepositoryNotEmptyException",
                f"The repository with name '{place.repository}' in registry with id '{place.account}' cannot be deleted"
                " because it still contains images",
            )
        response = self._gateway.handle(command.request)
        if response.status < 400:
            self._registry.store.forget(place)
        return response


def _get_authorization_token(command: Command) -> dict[str, Any]:
    registry, request = command.registry, command.request
    fault = registry.faults.take("short_token", operation=request.operation)
    seconds = TOKEN_SECONDS if fault is None else float(fault.get("seconds", 0))
    expires = time.time() + seconds
    found = []
    for owner in command.params.get("registryIds") or [command.account]:
        password = registry.seals.token(Grant(str(request.access_key), str(owner), request.region, expires))
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        found.append({"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": registry.endpoint})
    return {"authorizationData": found}


def _put_account_setting(command: Command) -> dict[str, str]:
    name, value = str(command.params.get("name", "")), str(command.params.get("value", ""))
    if value not in SETTINGS.get(name, ()):
        raise ApiError(
            "InvalidParameterException",
            f"Invalid parameter at 'value' failed to satisfy constraint: '{name} must be one of"
            f" {', '.join(SETTINGS.get(name, ()))}'"
            if name in SETTINGS
            else f"Invalid parameter at 'name' failed to satisfy constraint: 'must be one of {', '.join(SETTINGS)}'",
        )
    command.registry.store.set(command.account, command.request.region, name, value)
    return {"name": name, "value": value}


def _get_account_setting(command: Command) -> dict[str, str]:
    name = str(command.params.get("name", ""))
    if name not in SETTINGS:
        raise ApiError("InvalidParameterException", f"Invalid parameter at 'name': there is no setting '{name}'")
    return {"name": name, "value": command.registry.setting(command.account, command.request.region, name)}


# -- layers


def _check_layers(command: Command) -> dict[str, Any]:
    place, layers, failures = command.place, [], []
    for digest in command.params.get("layerDigests", []):
        size = command.registry.store.size(place, digest)
        if size is None:
            reason = f"Layer digest '{digest}' could not be found"
            failures.append({"layerDigest": digest, "failureCode": "MissingLayerDigest", "failureReason": reason})
        else:
            found = {"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size}
            layers.append({**found, "mediaType": DOCKER_LAYER})
    return {"layers": layers, "failures": failures}


def _download_url(command: Command) -> dict[str, str]:
    place, digest = command.place, str(command.params.get("layerDigest", ""))
    registry = command.registry
    if registry.store.size(place, digest) is None:
        raise ApiError("LayersNotFoundException", f"Layers with digests '[{digest}]' do not exist in the repository")
    host = registry.other_name(command.request.environ.get("HTTP_HOST", ""))
    return {"downloadUrl": host + registry.seals.address(digest), "layerDigest": digest}


def _begin_upload(command: Command) -> dict[str, Any]:
    place = command.place
    command.registry.store.sweep()
    return {"uploadId": command.registry.begin_upload(place), "partSize": _PART_BYTES}


def _upload_part(command: Command) -> dict[str, Any]:
    place, params = command.place, command.params
    try:
        data = base64.b64decode(params.get("layerPartBlob", ""), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidParameterException", "layerPartBlob is not in base64") from None
    identity, first = str(params.get("uploadId")), int(params.get("partFirstByte", -1))
    with command.registry.upload(place, identity) as upload:
        if upload is None:
            raise _no_upload(place, identity)
        if first != upload.size or int(params.get("partLastByte", -1)) != first + len(data) - 1:
            text = f"Invalid layer part upload for upload with id '{identity}' in the repository with name"
            raise ApiError("InvalidLayerPartException", f"{text} '{place.repository}': the next byte is {upload.size}")
        upload.append(data)
        return {**_of(place), "uploadId": identity, "lastByteReceived": upload.size - 1}


def _complete_upload(command: Command) -> dict[str, Any]:
    place, identity = command.place, str(command.params.get("uploadId"))
    digest = str(next(iter(command.params.get("layerDigests") or []), ""))
    registry = command.registry
    with registry.upload(place, identity) as upload:
        if upload is None:
            raise _no_upload(place, identity)
        if upload.size == 0:
            raise ApiError("EmptyUploadException", f"The upload with id '{identity}' has no layer parts")
        if registry.store.size(place, digest) is not None:
            upload.drop()
            raise ApiError("LayerAlreadyExistsException", f"The layer with digest '{digest}' already exists")
        if upload.digest() != digest:
            raise ApiError("InvalidLayerException", f"The layer that was uploaded has not the digest '{digest}'")
        registry.store.add_blob(place, digest, upload.path)
    return {**_of(place), "uploadId": identity, "layerDigest": digest}


def _of(place: Place) -> dict[str, str]:
    return {"registryId": place.account, "repositoryName": place.repository}


def _no_upload(place: Place, identity: str) -> ApiError:
    return ApiError(
        "UploadNotFoundException",
        f"Upload with id '{identity}' could not be found for the repository with name '{place.repository}' in the"
        f" registry with id '{place.account}'",
    )


def _about_images(answer: Callable[[Registry, Place, Mapping[str, Any]], Any]) -> Callable[[Command], Any]:
    """Return the handler of an operation on a repository's images."""

    def handle(command: Command) -> Any:
        place = command.place
        command.registry.own.ensure(place)
        return answer(command.registry, place, command.params)

    return handle


_OPERATIONS: Mapping[str, Callable[[Command], Any]] = {
    "GetAuthorizationToken": _get_authorization_token,
    "PutAccountSetting": _put_account_setting,
    "GetAccountSetting": _get_account_setting,
    "BatchCheckLayerAvailability": _check_layers,
    "GetDownloadUrlForLayer": _download_url,
    "InitiateLayerUpload": _begin_upload,
    "UploadLayerPart": _upload_part,
    "CompleteLayerUpload": _complete_upload,
    "DeleteRepository": lambda _: {},
    "PutImage": _about_images(catalogue.put_image),
    "ListImages": _about_images(catalogue.list_images),
    "DescribeImages": _about_images(catalogue.describe_images),
    "BatchGetImage": _about_images(catalogue.batch_get_image),
    "BatchDeleteImage": _about_images(catalogue.batch_delete_image),
}
