"""Names of images, platforms, and short names of bases."""

from __future__ import annotations

import sys

import pytest

from clary.errors import ConfigError
from clary.images.bases import base_of
from clary.images.platforms import Platform
from clary.images.reference import DOCKER_HUB, Reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("python:3.12", (DOCKER_HUB, "library/python", "3.12", None)),
        ("docker.io/org/app", (DOCKER_HUB, "org/app", None, None)),
        ("org/app", (DOCKER_HUB, "org/app", None, None)),
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/a:1",
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "team/a", "1", None),
        ),
        (f"localhost:5000/a@{DIGEST}", ("localhost:5000", "a", None, DIGEST)),
        ("127.0.0.1:5000/a:b", ("127.0.0.1:5000", "a", "b", None)),
        ("[::1]:5000/a", ("[::1]:5000", "a", None, None)),
        (f"public.ecr.aws/docker/library/python:3.12-slim@{DIGEST}",
         ("public.ecr.aws", "docker/library/python", "3.12-slim", DIGEST)),
    ],
)  # fmt: skip
def test_a_reference_is_taken_apart(text: str, parts: tuple[str, str, str | None, str | None]) -> None:
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "Upper/case", "a:b:c", "a@sha256:12", "https://x/y", "a b", "-a", "a/../b", "a:"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Reference.parse(text)
    assert caught.value.code == "image.bad_reference"


def test_a_reference_points_to_its_digest_first() -> None:
    tagged = Reference.parse("a/b:1")
    assert tagged.pointer == "1"
    assert Reference.parse("a/b").pointer == "latest"
    assert tagged.at(DIGEST).pointer == DIGEST
    assert str(tagged.at(DIGEST).tagged("2")) == f"{DOCKER_HUB}/a/b:2"


def test_platforms_in_every_spelling() -> None:
    assert Platform.parse("linux/x86_64") == Platform("amd64")
    assert Platform.parse("Linux/arm64/v8").machine == "aarch64"
    assert str(Platform()) == "linux/amd64"


def test_without_a_base_the_image_is_a_slim_python_of_this_version() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    gallery = "public.ecr.aws/docker/library/python"
    assert str(base_of(None, python=None, region=None).reference) == f"{gallery}:{here}-slim"
    assert str(base_of(None, python="3.13", region=None).reference) == f"{gallery}:3.13-slim"
    assert str(base_of("python", python="3.13", region=None).reference) == f"{gallery}:3.13-slim"
    assert str(base_of("python:3.12", python="3.12", region=None).reference) == f"{gallery}:3.12-slim"
    assert str(base_of("python:3.12-slim-bookworm", python=None, region=None).reference).endswith("3.12-slim-bookworm")


def test_a_cuda_base_is_one_word() -> None:
    for said in ("cuda", "cuda:12.9", "cuda:12.9.1", "cuda:12"):
        found = base_of(said, python=None, region=None)
        assert found.gpu
        assert found.torch == "cu129"
        assert str(found.reference) == "public.ecr.aws/deep-learning-containers/base:runtime-cuda-v1"
        assert found.python is not None
        assert found.python.version == "3.13"
    assert base_of("cuda:13", python=None, region=None).torch == "cu130"


def test_a_deep_learning_container_is_taken_from_the_region() -> None:
    found = base_of("pytorch:2.8-gpu", python=None, region="eu-central-1")
    assert str(found.reference) == ("763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch-training:2.8.0-gpu-py312")
    assert found.gpu
    assert "torch" in found.provides
    in_china = base_of("pytorch", python=None, region="cn-north-1", suffix="amazonaws.com.cn")
    assert str(in_china.reference).startswith("727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/")
    on_cpu = base_of("tensorflow:2.19-cpu", python=None, region="us-east-1")
    assert not on_cpu.gpu
    old = base_of("pytorch:2.4", python=None, region="us-east-1")
    assert old.python is not None
    assert old.python.executable == "/opt/conda/bin/python3"


def test_a_deep_learning_container_by_its_whole_name_is_known_too() -> None:
    said = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-gpu-py312-cu129-ubuntu22.04-sagemaker"
    found = base_of(said, python=None, region=None)
    assert found.gpu
    assert found.python is not None
    assert (found.python.version, found.python.executable) == ("3.12", "/usr/local/bin/python3")
    plain = base_of("registry.example/team/base:1", python=None, region=None)
    assert (plain.gpu, plain.provides, plain.python) == (False, (), None)


@pytest.mark.parametrize(
    ("said", "python", "region", "code"),
    [
        ("pytorch:1.13", None, "us-east-1", "image.unknown_base"),
        ("pytorch:2.8-gpus", None, "us-east-1", "image.unknown_base"),
        ("cuda:11.8", None, None, "image.unknown_base"),
        ("pytorch:2.8", None, None, "image.no_region"),
        ("pytorch:2.8", "3.11", "us-east-1", "image.wrong_python"),
        ("python:3.12", "3.11", None, "image.wrong_python"),
        ("Not A Reference", None, None, "image.bad_reference"),
    ],
)
def test_bases_that_are_refused(said: str, python: str | None, region: str | None, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_of(said, python=python, region=region)
    assert caught.value.code == code
    assert caught.value.next_step
