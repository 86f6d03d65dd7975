"""Whatever few things go wrong, at whatever requests: the image is right in the end, or not there."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.errors import ClaryError, Retry
from clary.images.reference import Reference
from clary.images.registry.copy import copy_image
from clary.images.registry.push import push_image
from registry_images import QUICK, check_image, registry_at, small_image
from registry_proxy import BROKEN, STATUSES, proxy_before
from registry_server import Server, docker_registry, needs_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_registry
IMAGE = small_image(31, size=5_000)
PASSING = (*BROKEN, *STATUSES)
_FEW = QUICK.tries - 1
"""Faults that every step has patience for, should all of them meet the same one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as served:
        yield served


_faults = st.dictionaries(st.integers(0, 24), st.sampled_from(PASSING), max_size=_FEW)
_manners = st.fixed_dictionaries(
    {
        "remembers": st.booleans(),
        "relative": st.booleans(),
        "loses_chunks": st.booleans(),
        "ranges": st.booleans(),
        "mount": st.sampled_from([None, 202, 401, 403, 404]),
    }
)
_EXAMPLES = int(os.environ.get("CLARY_TEST_EXAMPLES", "12"))
"""More of them are for a long run by hand."""
_thorough = settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_thorough
@given(faults=_faults, manners=_manners, at_once=st.integers(1, 3))
def test_few_faults_never_spoil_an_image(
    server: Server, faults: dict[int, str], manners: dict[str, object], at_once: int
) -> None:
    repository, copied = f"app/{uuid.uuid4().hex}", f"app/{uuid.uuid4().hex}"
    with proxy_before(server.host) as proxy:
        for name, value in manners.items():
            setattr(proxy.manners, name, value)
        proxy.manners.by_number = faults
        registry = registry_at(proxy.origin)
        push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"], at_once=at_once)
        copy_image(registry, Reference.parse(f"{proxy.host}/{repository}:v1"), registry, copied, tags=["v1"])
        check_image(registry, copied, IMAGE, "v1")
        registry.close()
    direct = registry_at(server.origin)
    check_image(direct, repository, IMAGE, "v1")
    check_image(direct, copied, IMAGE, "v1")
    direct.close()


@_thorough
@given(faults=st.dictionaries(st.integers(0, 40), st.sampled_from([*PASSING, "wrong bytes"]), min_size=5))
def test_many_faults_end_in_the_image_or_in_an_error(server: Server, faults: dict[int, str]) -> None:
    repository = f"app/{uuid.uuid4().hex}"
    with proxy_before(server.host) as proxy:
        proxy.manners.by_number = faults
        registry = registry_at(proxy.origin)
        verdict = Retry.LATER
        try:
            push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
            check_image(registry, repository, IMAGE, "v1")
        except ClaryError as error:
            verdict = error.retry
        assert verdict is Retry.LATER
        registry.close()
    direct = registry_at(server.origin)
    if direct.manifest(repository, "v1") is not None:
        check_image(direct, repository, IMAGE, "v1")
    direct.close()
