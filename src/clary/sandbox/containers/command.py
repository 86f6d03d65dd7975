"""What every executor does alike with a request: its command line, and credentials where no address can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.model import ContainerSpec, EntrypointError, Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clary.sandbox.containers.image import Image

_VARIABLES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "Token": "AWS_SESSION_TOKEN",
}
FIXED_CREDENTIALS = "Refreshed credentials: the role's credentials are variables of the container and expire with them."


def command_line(image: Image, spec: ContainerSpec) -> Sequence[str]:
    """Combine the image's and the request's words as ``docker run`` does; raises EntrypointError when none are left."""
    if spec.entrypoint is not None:
        words = [*spec.entrypoint, *(spec.arguments or ())]
    else:
        words = [*image.entrypoint, *(image.command if spec.arguments is None else spec.arguments)]
    if not words or not words[0]:
        raise EntrypointError("no command: neither the request nor the image names one", 127)
    return words


def fixed_credentials(spec: ContainerSpec) -> dict[str, str]:
    """Return the role's credentials as variables, for executors that cannot answer at 169.254.170.2."""
    if spec.credentials is None or spec.network is Network.NONE:
        return {}
    given = spec.credentials()
    return {variable: given[name] for name, variable in _VARIABLES.items() if name in given}
