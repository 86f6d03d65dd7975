"""The builder ``kaniko``: the context to S3, a Job that builds and pushes, and nothing left behind."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ClaryError, ConflictError, Retry
from clary.images.builders.context import pack
from clary.images.builders.index_logins import with_indexes
from clary.images.builders.kaniko import manifests
from clary.images.builders.kaniko.access import open_cluster
from clary.images.builders.kaniko.following import Follower
from clary.images.builders.kaniko.pods import ended
from clary.images.builders.pushed import digest_in, verified
from clary.images.builders.sources import check_context, engine_name, sources_of
from clary.secrets.redaction import hidden

if TYPE_CHECKING:
    from clary.images.builders.kaniko.cluster import Cluster
    from clary.images.builders.kaniko.pods import Document
    from clary.images.builders.kaniko.settings import Settings
    from clary.images.builders.sources import Sources
    from clary.images.building import Built, Order, Progress
    from clary.images.registry.registries import Registries
    from clary.objects import ObjectStore

_NONCE = "clary/build"
"""The annotation that tells a Job of this very build from one of somebody else's for the same image."""
_DELETION = 60.0
"""Seconds that the cluster is given to take a finished Job away."""


@dataclass
class Kaniko:
    """Builds in a Kubernetes cluster."""

    settings: Settings
    contexts: ObjectStore
    """Where contexts are put, in S3."""
    folder: str
    """The folder of it, or empty."""
    registries: Registries
    """What was pushed is verified with them. The executor signs in by itself."""
    images: Path
    """Clary's folder for images, below which wheels are kept."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the executor: ``AWS_REGION``, and ``S3_ENDPOINT`` with ``S3_FORCE_PATH_STYLE`` where S3 is not AWS's."""
    uv_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of this machine, which may name package indexes."""
    pause: Callable[[float], None] = time.sleep
    name: str = "kaniko"

    def build(self, order: Order, progress: Progress) -> Built:
        """Build and push; a Job that builds this image already is joined.

        Raises ConfigError ``image.kaniko_missing``, ``image.no_cluster``; ConflictError ``image.job_name_taken``; and
        what ``Cluster``, ``Follower``, ``with_indexes``, ``sources_of``, ``verified`` and the object store raise.
        """
        cluster = open_cluster(self.settings, self.pause)
        registry = self.registries.open(order.target)
        registry.make(order.target.repository)
        name = manifests.job_name(self.settings, str(order.target))
        with hidden(order.secrets.values()):
            under_way = _cleared(cluster, name, order)
            if under_way is not None:
                digest = self._joined(cluster, under_way, progress)
            else:
                with tempfile.TemporaryDirectory(prefix="clary-build-") as work:
                    digest = self._made(cluster, order, Path(work), progress)
        return verified(order.target, digest_in(digest), registry)

    def _joined(self, cluster: Cluster, job: Document, progress: Progress) -> str:
        progress.stage(f"the Job {job['metadata']['name']} builds this image already")
        return Follower(cluster, job, self.settings.build_timeout, progress).digest()

    def _made(self, cluster: Cluster, order: Order, work: Path, progress: Progress) -> str:
        progress.stage("collecting the build's context")
        order = with_indexes(order, self.uv_environment)
        sources = sources_of(order, work / "uv", self.images, buildkit=False, addresses={})
        packed = work / "context.tar.gz"
        nonce = uuid.uuid4().hex
        digest = pack(sources.entries, packed, compressed=True)
        check_context(order, digest)
        key = f"{self.folder}/{digest}-{nonce[:8]}.tar.gz".lstrip("/")
        manifest = self._manifest(cluster, order, sources, self.contexts.url(key), nonce)
        with self._uploaded(key, packed, progress), _job(cluster, manifest, order, progress) as job:
            if not _is_ours(job, nonce):
                return self._joined(cluster, job, progress)
            with _secret(cluster, job, order.secrets, progress):
                progress.stage(f"building in the Job {job['metadata']['name']}, namespace {cluster.namespace}")
                return Follower(cluster, job, self.settings.build_timeout, progress).digest()

    def _manifest(self, cluster: Cluster, order: Order, sources: Sources, context: str, nonce: str) -> Document:
        task = manifests.Task(
            target=engine_name(order.target, {}),
            tags=[engine_name(order.target.tagged(tag), {}) for tag in order.tags],
            context=context,
            dockerfile=sources.dockerfile,
            platform=order.image.platform,
            labels=order.labels,
            arguments=sources.arguments,
            secrets=sorted(order.secrets),
            own_dockerfile=order.image.dockerfile is not None,
            environment=self.environment,
        )
        made = manifests.job(self.settings, cluster.namespace, task)
        made["metadata"]["annotations"] = {_NONCE: nonce}
        return made

    @contextmanager
    def _uploaded(self, key: str, packed: Path, progress: Progress) -> Iterator[None]:
        size = packed.stat().st_size
        try:
            progress.transfer("context", 0, size)
            self.contexts.put_file(key, packed)
            progress.transfer("context", size, size)
            yield
        finally:
            _tried(lambda: self.contexts.delete(key), f"the context {self.contexts.url(key)}", progress)


@contextmanager
def _job(cluster: Cluster, manifest: Document, order: Order, progress: Progress) -> Iterator[Document]:
    """Give the Job that is made, or somebody else's for the same image.

    Ours is deleted when the build fails or is broken off, even while it is asked for.
    """
    name, nonce = str(manifest["metadata"]["name"]), str(manifest["metadata"]["annotations"][_NONCE])
    try:
        yield _created(cluster, manifest, order)
    except BaseException:
        _tried(lambda: _delete_ours(cluster, name, nonce), f"the Job {name}", progress)
        raise


def _delete_ours(cluster: Cluster, name: str, nonce: str) -> None:
    job = cluster.job(name)
    if job is not None and _is_ours(job, nonce):
        cluster.delete_job(name)


def _is_ours(job: Document, nonce: str) -> bool:
    return (job["metadata"].get("annotations") or {}).get(_NONCE) == nonce


@contextmanager
def _secret(cluster: Cluster, job: Document, values: Mapping[str, str], progress: Progress) -> Iterator[None]:
    """Keep the Secret of a build's secrets.

    The Job comes before the Secret, which it owns: whatever happens to this process, the cluster takes both away. Until
    the Secret is there the pod waits for it.
    """
    name, uid = str(job["metadata"]["name"]), str(job["metadata"]["uid"])
    if not values:
        yield
        return
    try:
        cluster.create_secret(manifests.secret(name, cluster.namespace, uid, values))
        yield
    finally:
        _tried(lambda: cluster.delete_secret(name), f"the Secret {name}", progress)


def _tried(action: Callable[[], None], what: str, progress: Progress) -> None:
    """Clean up; a failure is told and hides nothing that is raised meanwhile."""
    try:
        action()
    except ClaryError as error:
        progress.stage(f"could not delete {what}: {error.summary}")


def _created(cluster: Cluster, manifest: Document, order: Order) -> Document:
    """Return the Job that was made, or the one that somebody has made meanwhile for the same image."""
    name = str(manifest["metadata"]["name"])
    while True:
        made = cluster.create_job(manifest) or _cleared(cluster, name, order)
        if made is not None:
            return made


def _cleared(cluster: Cluster, name: str, order: Order) -> Document | None:
    """Return the Job of this name that is building the image; one that has ended is taken away.

    Raises ConflictError ``image.job_name_taken`` for a Job that is not Clary's, or does not go away.
    """
    waited, asked = 0.0, False
    while (job := cluster.job(name)) is not None:
        mine = (job["metadata"].get("labels") or {}).get(manifests.TARGET_LABEL)
        if mine != manifests.target_label(str(order.target)) or waited > _DELETION:
            raise _taken(cluster, name)
        going = job["metadata"].get("deletionTimestamp")
        if not going and ended(job) is None:
            return job
        if not going and not asked:
            cluster.delete_job(name)
            asked = True
        cluster.pause(0.5)
        waited += 0.5
    return None


def _taken(cluster: Cluster, name: str) -> ConflictError:
    return ConflictError(
        "image.job_name_taken",
        f"The namespace {cluster.namespace} has a Job {name} that is not this build's, or that does not go away.",
        next_step=f"Look at it with `kubectl -n {cluster.namespace} describe job {name}`; delete it, or choose another "
        "build_job_name of the image builder.",
        field="image_builder.build_job_name",
        retry=Retry.LATER,
    )
