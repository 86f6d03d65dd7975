"""Manifests and configurations, written and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.errors import ConfigError
from clary.images import oci
from clary.images.oci import Changes, Config, Descriptor
from clary.images.platforms import AMD64, Platform

BASE = Config(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "history": [{"created_by": "x"}],
        "config": {"Env": ["PATH=/usr/bin", "A=1"], "Cmd": ["python3"], "Labels": {"of": "base"}, "User": "app"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
    }
)
ARM, AMD = "sha256:" + "a" * 64, "sha256:" + "b" * 64
LAYER = Descriptor(oci.OCI_LAYER, "sha256:" + "2" * 64, 10)


def test_a_configuration_is_laid_over_its_base() -> None:
    changes = Changes({"A": "2", "B": "3"}, {"of": "ours"}, ("run",), workdir="/srv")
    data = oci.config_of(BASE, ["sha256:" + "2" * 64], changes)
    found = oci.read_config(data)
    assert found.environment == {"PATH": "/usr/bin", "A": "2", "B": "3"}
    assert found.labels == {"of": "ours"}
    assert (found.entrypoint, found.command, found.user, found.workdir) == (("run",), (), "app", "/srv")
    assert found.diff_ids == ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
    assert "history" not in found.document
    assert found.document["created"] == "1970-01-01T00:00:00Z"
    assert oci.config_of(BASE, ["sha256:" + "2" * 64], changes) == data
    kept = oci.read_config(oci.config_of(BASE, [], Changes()))
    assert (kept.command, kept.user) == (("python3",), "app")


def test_a_manifest_has_docker_s_types_whatever_the_base_had() -> None:
    config = oci.config_of(BASE, [], Changes())
    data = oci.manifest_of(config, [LAYER])
    document = json.loads(data)
    assert document["mediaType"] == oci.DOCKER_MANIFEST
    assert [one["mediaType"] for one in document["layers"]] == [oci.DOCKER_LAYER]
    read = oci.read_manifest(data)
    assert read.config.digest == oci.digest_of(config)
    assert read.size == len(config) + 10
    assert read.digest == oci.digest_of(data)


def test_a_layer_that_sagemaker_may_not_take_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        oci.manifest_of(b"{}", [Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", LAYER.digest, 1)])
    assert caught.value.code == "image.layer_type"


def test_the_platform_is_chosen_from_a_list() -> None:
    entries: list[Any] = [
        {"digest": ARM, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": AMD, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": "sha256:" + "e" * 64, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    data = json.dumps({"manifests": entries}).encode()
    assert oci.is_list(data)
    assert oci.choose(data, AMD64) == AMD
    assert oci.choose(data, Platform("arm64")) == ARM
    with pytest.raises(ConfigError) as caught:
        oci.choose(json.dumps({"manifests": entries[:1]}).encode(), AMD64)
    assert caught.value.code == "image.no_such_platform"
    assert "linux/arm64" in caught.value.next_step


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"config": 1, "layers": []}', b'{"config": {"digest": "x", "size": 1}, "layers": []}',
     b'{"config": {"mediaType": "m", "digest": "sha256:1", "size": 1}, "layers": []}', b" " * (5 << 20),
     b'{"config": {"mediaType": "m", "digest": "sha256:' + b"../" * 21 + b'.", "size": 1}, "layers": []}',
     b'{"config": {"mediaType": "m", "digest": "sha256:' + b"1" * 64 + b'", "size": 1e999}, "layers": []}',
     b'{"config": {"mediaType": "m", "digest": "sha256:' + b"1" * 64 + b'", "size": "1"}, "layers": []}',
     b'{"a": ' + b"[" * 200_000],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        oci.read_manifest(data)
    assert caught.value.code == "image.bad_manifest"


@pytest.mark.parametrize(
    "document",
    [
        {"config": []},
        {"config": {"Env": {"A": "1"}}},
        {"config": {"Env": [1]}},
        {"config": {"Labels": ["a"]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"Entrypoint": "run"}},
        {"config": {"Cmd": [None]}},
        {"config": {"User": 0}},
        {"config": {"WorkingDir": ["/"]}},
        {"rootfs": "layers"},
        {"rootfs": {"diff_ids": ["sha256:../../x"]}},
        {"history": ["made"]},
        {"os": 1},
    ],
)
def test_a_configuration_of_another_form_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        oci.read_config(json.dumps(document).encode())
    assert caught.value.code == "image.bad_manifest"


def test_null_says_nothing_in_a_configuration() -> None:
    names = ("Env", "Labels", "Entrypoint", "Cmd", "User", "WorkingDir")
    document = {"os": None, "rootfs": None, "history": None, "config": dict.fromkeys(names)}
    found = oci.read_config(json.dumps(document).encode())
    assert (found.environment, found.labels, found.entrypoint, found.command) == ({}, {}, (), ())
    assert (found.user, found.workdir, found.diff_ids, found.platform) == ("", "/", (), AMD64)
    assert oci.read_config(oci.config_of(found, [], Changes(), made_by=["x"])).document["history"]


@pytest.mark.parametrize(
    "entries", [{}, [1], [{"platform": {"os": "linux", "architecture": "amd64"}, "digest": "sha256:../x"}]]
)
def test_a_list_of_another_form_is_refused(entries: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        oci.choose(json.dumps({"manifests": entries}).encode(), AMD64)
    assert caught.value.code == "image.bad_manifest"


def test_what_is_for_no_platform_is_passed_over_in_a_list() -> None:
    entries = [
        {"digest": ARM, "platform": "linux"},
        {"digest": ARM},
        {"digest": AMD, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    assert oci.choose(json.dumps({"manifests": entries}).encode(), AMD64) == AMD
