"""What images are made on: short names, and AWS's Deep Learning Containers by framework and version.

Sources: the gallery of AWS's Deep Learning Containers and their Dockerfiles (aws/deep-learning-containers), and the
registries and versions in the SageMaker SDK's ``image_uri_config`` (August 2026).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from clary.errors import ConfigError, nearest
from clary.images.building import Python
from clary.images.reference import Reference

_GALLERY = "public.ecr.aws/docker/library/python"
"""Docker's official Python images, without Docker Hub's limits for those who do not sign in."""
_CUDA_GALLERY = "public.ecr.aws/deep-learning-containers/base"


@dataclass(frozen=True)
class Base:
    """What an image is made on."""

    reference: Reference
    gpu: bool = False
    """Whether it is there for its GPU libraries."""
    torch: str | None = None
    """The builds of PyTorch that its CUDA runs, in uv's words."""
    provides: tuple[str, ...] = ()
    """Packages that it brings and that are not installed again, for they are built for it."""
    python: Python | None = None
    """Its interpreter, where that is known without looking."""


@dataclass(frozen=True)
class Cuda:
    """A base with CUDA and Python."""

    tag: str
    torch: str
    python: Python


CUDA: Mapping[str, Cuda] = {
    "13.0": Cuda("runtime-cuda-v2", "cu130", Python("3.13", "/usr/local/bin/python3", "glibc", (2, 34))),
    "12.9": Cuda("runtime-cuda-v1", "cu129", Python("3.13", "/usr/local/bin/python3", "glibc", (2, 34))),
    "12.8": Cuda(
        "12.8.1-gpu-py312-cu128-ubuntu24.04-ec2",
        "cu128",
        Python("3.12", "/usr/local/bin/python3", "glibc", (2, 39)),
    ),
}
"""AWS's base images with CUDA and Python, by CUDA's version."""

FRAMEWORKS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "pytorch": {
        "2.8": ("2.8.0", "3.12"),
        "2.7": ("2.7.1", "3.12"),
        "2.6": ("2.6.0", "3.12"),
        "2.5": ("2.5.1", "3.11"),
        "2.4": ("2.4.0", "3.11"),
        "2.3": ("2.3.0", "3.11"),
    },
    "tensorflow": {"2.19": ("2.19.0", "3.12")},
}
"""Training images with Python 3.11 or newer, by framework and version, the newest first."""
_PROVIDED = {
    "pytorch": ("torch", "torchvision", "torchaudio", "torchdata"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "keras"),
}
_CONDA_UP_TO = (2, 5)
"""PyTorch images up to this have their Python from conda; later ones build it into /usr/local."""
_GLIBC = (2, 35)
"""Of Ubuntu 22.04, on which these images stand."""

_ACCOUNT = "763104351884"
_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}
"""Whose registry has the Deep Learning Containers in a region, where it is not the usual account."""

_SHORT = re.compile(r"(?P<kind>python|cuda|pytorch|tensorflow)(?::(?P<version>\d+(\.\d+)*)?(?P<rest>(-[a-z0-9]+)*))?")


def base_of(said: str | None, *, python: str | None, region: str | None, suffix: str = "amazonaws.com") -> Base:
    """Return the base that ``said`` names; short names are written out.

    Args:
        said: a reference, or ``python[:3.12[-slim]]``, ``cuda[:12.9]``, ``pytorch[:2.8[-gpu|-cpu]]``,
            ``tensorflow[:2.19[-gpu|-cpu]]``; None: a slim Python of this interpreter's version.
        python: the version that was asked for, if one was.
        region: whose registry Deep Learning Containers are taken from.
        suffix: the DNS suffix of the region's partition.

    Raises ConfigError ``image.bad_reference``, ``image.unknown_base``, ``image.wrong_python``.
    """
    if said is None:
        version = python or f"{sys.version_info.major}.{sys.version_info.minor}"
        return Base(Reference.parse(f"{_GALLERY}:{version}-slim"))
    short = _SHORT.fullmatch(said)
    if short is None:
        return _longhand(said)
    kind, version, rest = short["kind"], short["version"], short["rest"] or ""
    if kind == "python":
        return _slim(said, version, rest, python)
    found = _cuda(said, version) if kind == "cuda" else _framework(said, kind, version, rest, region, suffix)
    if python and found.python and python != found.python.version:
        raise ConfigError(
            "image.wrong_python",
            f"The base {said} has Python {found.python.version}, and {python} is asked for.",
            next_step="Leave python out, or name another base.",
            field="image.python",
        )
    return found


def _longhand(said: str) -> Base:
    reference = Reference.parse(said, field="image.base")
    _, _, name = reference.repository.rpartition("/")
    framework = name.removesuffix("-training").removesuffix("-inference")
    if framework in _PROVIDED and name != framework:
        gpu = "-gpu" in (reference.tag or "")
        return Base(reference, gpu, provides=_PROVIDED[framework], python=_tagged(reference.tag or ""))
    return Base(reference)


def _slim(said: str, version: str | None, rest: str, python: str | None) -> Base:
    if version and python and not version.startswith(python):
        raise ConfigError(
            "image.wrong_python",
            f"The base {said} has Python {version}, and {python} is asked for.",
            next_step="Say the version in one of the two places.",
            field="image.python",
        )
    found = version or python or f"{sys.version_info.major}.{sys.version_info.minor}"
    return Base(Reference.parse(f"{_GALLERY}:{found}{rest or '-slim'}", field="image.base"))


def _cuda(said: str, version: str | None) -> Base:
    for known, image in CUDA.items():
        wanted = version or "12.9"
        if known == wanted or wanted.startswith(f"{known}.") or known.partition(".")[0] == wanted:
            reference = Reference.parse(f"{_CUDA_GALLERY}:{image.tag}")
            return Base(reference, gpu=True, torch=image.torch, python=image.python)
    raise _unknown(said, [f"cuda:{known}" for known in CUDA])


def _framework(said: str, kind: str, version: str | None, rest: str, region: str | None, suffix: str) -> Base:
    versions = FRAMEWORKS[kind]
    short = ".".join((version or next(iter(versions))).split(".")[:2])
    if short not in versions or rest not in ("", "-gpu", "-cpu"):
        raise _unknown(said, [f"{kind}:{known}-{device}" for known in versions for device in ("gpu", "cpu")])
    if region is None:
        raise ConfigError(
            "image.no_region",
            f"The base {said} lies in a registry of each region, and no region is known.",
            next_step="Name a stack with --stack, or the whole reference of the base.",
            field="image.base",
        )
    whole, python = versions[short]
    device = rest[1:] or "gpu"
    host = f"{_ACCOUNTS.get(region, _ACCOUNT)}.dkr.ecr.{region}.{suffix}"
    tag = f"{whole}-{device}-py{python.replace('.', '')}"
    reference = Reference(host, f"{kind}-training", tag)
    executable = "/opt/conda/bin/python3" if _from_conda(kind, short) else "/usr/local/bin/python3"
    return Base(
        reference, device == "gpu", provides=_PROVIDED[kind], python=Python(python, executable, "glibc", _GLIBC)
    )


def _from_conda(kind: str, version: str) -> bool:
    return kind == "pytorch" and tuple(int(part) for part in version.split(".")) <= _CONDA_UP_TO


def _tagged(tag: str) -> Python | None:
    """Return the interpreter that the tag of a Deep Learning Container tells."""
    version = re.match(r"(\d+\.\d+)", tag)
    python = re.search(r"-py3(\d{1,2})\b", tag)
    if version is None or python is None:
        return None
    executable = "/opt/conda/bin/python3" if _from_conda("pytorch", version[1]) else "/usr/local/bin/python3"
    return Python(f"3.{python[1]}", executable, "glibc", (2, 31) if "ubuntu20" in tag else _GLIBC)


def _unknown(said: str, known: list[str]) -> ConfigError:
    meant = nearest(said, known)
    return ConfigError(
        "image.unknown_base",
        f"There is no short name {said!r} of a base.",
        next_step=f"Did you mean {meant!r}?" if meant else f"Name one of {', '.join(known)}, or a whole reference.",
        field="image.base",
        details={"known": known},
    )
