"""Images by a Docker engine: BuildKit through buildx, or through the engine's own program where it is older."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import AwsError, ConfigError, PermissionDeniedError, Retry
from clary.images.builders import running
from clary.images.builders.context import pack
from clary.images.builders.engine import Engine, find_engine
from clary.images.builders.index_logins import with_indexes
from clary.images.builders.pushed import digest_in, verified
from clary.images.builders.sign_in import Reached, configured, reach
from clary.images.builders.sources import Sources, check_context, engine_name, sources_of
from clary.secrets.redaction import hidden

if TYPE_CHECKING:
    from clary.images.building import Built, Order, Progress
    from clary.images.registry.registries import Registries
    from clary.images.site import Site

_VALUE = "clary_secret_"
"""What the variables begin with that hand a secret to Docker's program."""
_DENIED = ("denied", "unauthorized", "no basic auth", "authentication required", "forbidden")
_FOREIGN = ("exec format error", "exec user process caused")


@dataclass
class Docker:
    """Builds with the Docker engine of this machine."""

    registries: Registries
    """Say how the registries are reached and signed in to; what was pushed is verified with them."""
    images: Path
    """Clary's folder for images, below which wheels are kept."""
    program: str = "docker"
    """Docker's program, a name or a path."""
    network: str | None = None
    """The network of RUN steps, such as ``host``; None: the engine's choice."""
    buildx_builder: str | None = None
    """The instance of buildx that builds; None: the current one."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Of Docker's program: where its engine and its configuration are; it may name package indexes, too."""
    name: str = "docker"

    def build(self, order: Order, progress: Progress) -> Built:
        """Build and push.

        Raises ConfigError ``image.no_docker``, ``image.docker_unreachable``, ``image.no_buildkit``,
        ``image.build_failed``, ``image.foreign_platform``; PermissionDeniedError ``image.push_denied``; AwsError
        ``image.push_failed``; and what ``reach``, ``with_indexes``, ``sources_of`` and ``verified`` raise.
        """
        engine = find_engine(self.program, self.environment)
        with tempfile.TemporaryDirectory(prefix="clary-build-") as work, hidden(order.secrets.values()):
            folder = Path(work)
            progress.stage("collecting the build's context")
            reached = reach(self.registries, [one for one in (order.base, order.target) if one is not None])
            order = with_indexes(order, self.environment)
            sources = sources_of(order, folder / "uv", self.images, buildkit=True, addresses=reached.addresses)
            packed = pack(sources.entries, folder / "context.tar", compressed=False)
            check_context(order, packed)
            registry = self.registries.open(order.target)
            registry.make(order.target.repository)
            digest = _Build(self, engine, order, sources, folder, progress, reached).run()
            return verified(order.target, digest, registry)


def opened(site: Site) -> Docker:
    """Return the builder with the options that a stack gives it."""
    options = site.builder if site.builder.get("flavor") == Docker.name else {}
    given = {name: options[name] for name in ("network", "buildx_builder") if options.get(name)}
    return Docker(site.registries, site.images, environment=site.environment, **given)


@dataclass(frozen=True)
class _Build:
    """One build."""

    settings: Docker
    engine: Engine
    order: Order
    sources: Sources
    folder: Path
    progress: Progress
    reached: Reached

    def run(self) -> str:
        """Build and push; return the digest of what was pushed."""
        environment = self._environment()
        context = self.folder / "context.tar"
        done = running.run(self._command(), environment, self.progress, stdin=context)
        if done.code != 0:
            raise _failed(done.lines, pushing=False)
        if self.engine.buildx:
            said = json.loads((self.folder / "metadata.json").read_text(encoding="utf-8"))
            return str(said.get("containerimage.digest") or "")
        pushes = [running.run([self.engine.program, "push", name], environment, self.progress) for name in self._names]
        for one in pushes:
            if one.code != 0:
                raise _failed(one.lines, pushing=True)
        return digest_in("\n".join(pushes[0].lines))

    @property
    def _names(self) -> list[str]:
        target = self.order.target
        every = [target, *(target.tagged(tag) for tag in self.order.tags)]
        return [engine_name(one, self.reached.addresses) for one in every]

    def _environment(self) -> dict[str, str]:
        config = self.folder / "docker"
        config.mkdir(mode=0o700)
        others = reach(self.settings.registries, (), self.sources.hosts)
        values = [value for _, value in sorted(self.order.secrets.items())]
        return {
            **self.settings.environment,
            **configured(config, {**others.logins, **self.reached.logins}, self.settings.environment),
            "DOCKER_BUILDKIT": "1",
            "SOURCE_DATE_EPOCH": str(self.order.created),
            **{f"{_VALUE}{number}": value for number, value in enumerate(values)},
        }

    def _command(self) -> list[str]:
        return [self.engine.program, *self._begin(), *self._said(), "-"]

    def _begin(self) -> Iterator[str]:
        if not self.engine.buildx:
            yield "build"
            return
        yield from ("buildx", "build", "--provenance=false", "--sbom=false")
        yield from ("--output", "type=image,push=true,oci-mediatypes=false")
        yield from ("--metadata-file", str(self.folder / "metadata.json"))
        if self.settings.buildx_builder:
            yield from ("--builder", self.settings.buildx_builder)
        if self.settings.network == "host":
            yield from ("--allow", "network.host")

    def _said(self) -> Iterator[str]:
        yield from ("--progress", "plain", "--platform", self.order.image.platform, "--file", self.sources.dockerfile)
        if self.settings.network:
            yield from ("--network", self.settings.network)
        for name in self._names:
            yield from ("--tag", name)
        for name, value in sorted(self.order.labels.items()):
            yield from ("--label", f"{name}={value}")
        for name, value in sorted(self.sources.arguments.items()):
            yield from ("--build-arg", f"{name}={value}")
        for number, name in enumerate(sorted(self.order.secrets)):
            yield from ("--secret", f"id={name},env={_VALUE}{number}")


def _failed(lines: list[str], *, pushing: bool) -> ConfigError | AwsError:
    shown = running.useful(lines)
    text, details = shown.lower(), {"output": "\n".join(lines)[-20_000:]}
    if any(word in text for word in _FOREIGN):
        return ConfigError(
            "image.foreign_platform",
            f"This machine's engine cannot run programs of the image's platform:\n{shown}",
            next_step="Let the engine emulate it (QEMU, by binfmt), or use the builder layers, which runs nothing.",
            field="image.platform",
            details=details,
        )
    if any(word in text for word in _DENIED) and (pushing or "push" in text):
        return PermissionDeniedError(
            "image.push_denied",
            f"The registry did not let the engine push:\n{shown}",
            next_step="Check that the credentials may push to the repository, and that it exists.",
            details=details,
        )
    if pushing:
        return AwsError(
            "image.push_failed",
            f"The engine could not push the image:\n{shown}",
            next_step="Check that the engine reaches the registry, then build again: nothing is sent twice.",
            retry=Retry.YES,
            details=details,
        )
    return ConfigError(
        "image.build_failed",
        f"The image could not be built:\n{shown}",
        next_step="Mend what the last lines say; the whole output is in the error's details (-o json).",
        field="image",
        details=details,
    )
