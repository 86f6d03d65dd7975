"""``Image``: what a person says of the image that runs a flow. Plain data; the standard library only, for user modules
name it in the job too. What can be wrong with it, ``clary.images.spec`` says at submit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

BUILDERS = ("layers", "docker", "kaniko", "none")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: a base, what is added to it, and who builds it.

    ``Image()`` is the project's own: what its ``pyproject.toml`` or ``requirements.txt`` asks for, on a slim Python.
    The same keys are those of ``[tool.clary.image]``, of an image file in YAML, and of ``clary image``'s options.
    """

    base: str | None = None
    """What it is made on: a reference, or a short name such as ``python:3.12``, ``cuda:12.9``, ``pytorch:2.8-gpu``.
    None: a slim image of the Python in ``python``."""
    requirements: str | Sequence[str] | None = None
    """Python packages: a list, or a file (``requirements.txt``, ``pyproject.toml``, ``uv.lock``, ``pylock.toml``, or a
    script with a PEP 723 header). None: found in the project. An empty list: none."""
    extras: Sequence[str] = ()
    """Extras of the project to install, where ``requirements`` is its ``pyproject.toml`` or ``uv.lock``."""
    groups: Sequence[str] = ()
    """Dependency groups to install, likewise."""
    python: str | None = None
    """The version, such as ``3.12``. None: the base's; without a base, the one that runs here."""
    torch: str | None = None
    """Which builds of PyTorch: ``cpu``, ``cu126``… (uv's ``--torch-backend``). None: what the base can use."""
    apt: Sequence[str] = ()
    """Debian or Ubuntu packages. They need the builder ``docker`` or ``kaniko``."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of every container of the image."""
    dockerfile: str | None = None
    """A Dockerfile of your own, built as it is. It needs the builder ``docker`` or ``kaniko``."""
    context: str | None = None
    """The folder that the Dockerfile may copy from. None: the Dockerfile's own."""
    copy: Mapping[str, str] = field(default_factory=dict)
    """Files and folders of the project to their absolute places in the image."""
    code: bool = False
    """Whether the project's code is baked in, at ``/opt/clary/code``. Flows need it not: their code is sent anyway."""
    entrypoint: Sequence[str] | None = None
    """What containers start that are told nothing else. Jobs of flows are told."""
    user: str | None = None
    """Who runs it, ``name`` or ``uid[:gid]``. None: the base's. Jobs of flows need root."""
    workdir: str | None = None
    """Where it runs. None: the base's; where the code is baked in, that place."""
    platform: str = "linux/amd64"
    """SageMaker's jobs run on nothing else, whatever this machine is."""
    builder: str | None = None
    """``layers``, ``docker``, ``kaniko`` or ``none``, which builds nothing: the base is used as it is, and
    requirements travel beside the code. None: the stack's, else ``layers``."""
    repository: str | None = None
    """In the stack's registry. None: the stack's."""
    tag: str | None = None
    """A further tag. Images are always tagged by a digest of what decides their content."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables of the build alone: names to ``{{secrets.NAME.KEY}}``. They are in no layer."""

    def to_dict(self) -> dict[str, Any]:
        """Return what was said, as plain data: fields that are as they are by default are left out."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _plain(value) for name, value in said.items() if value != _DEFAULTS[name]}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): one for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value


_DEFAULTS = {one.name: getattr(Image(), one.name) for one in fields(Image)}
