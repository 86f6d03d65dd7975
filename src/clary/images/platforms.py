"""The machines that images are for. SageMaker's jobs run on linux/amd64; the rest is for the endpoints to come."""

from __future__ import annotations

from dataclasses import dataclass

from clary.errors import ConfigError, nearest

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
"""The names that registries use, and those that wheels use."""


@dataclass(frozen=True)
class Platform:
    """An operating system and a processor, in the words of registries."""

    architecture: str = "amd64"
    """``amd64`` or ``arm64``."""
    os: str = "linux"

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Return the platform that ``text`` (``linux/amd64``) names.

        Raises ConfigError ``image.unknown_platform``.
        """
        os, _, architecture = text.strip().lower().partition("/")
        architecture = {"x86_64": "amd64", "aarch64": "arm64", "arm64/v8": "arm64"}.get(architecture, architecture)
        if os == "linux" and architecture in _ARCHITECTURES:
            return cls(architecture)
        known = [f"linux/{name}" for name in _ARCHITECTURES]
        meant = nearest(text, known)
        raise ConfigError(
            "image.unknown_platform",
            f"Images cannot be made for the platform {text!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else f"The platforms are: {', '.join(known)}.",
            field="image.platform",
        )

    @property
    def machine(self) -> str:
        """The processor as wheels and uv name it: ``x86_64`` or ``aarch64``."""
        return _ARCHITECTURES[self.architecture]

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


AMD64 = Platform()
