"""The reference page of images, made from ``Image`` and its texts, and from the tables of bases and builders."""

from __future__ import annotations

from collections.abc import Iterator

from job_settings_page import table, texts

from clary.cli import image_options
from clary.image import Image
from clary.images import bases, spec
from clary.images.builders import choosing

INTRODUCTION = """\
What the image of a flow's jobs is made of. The same fields are the arguments of `Image` in Python, the keys of
`[tool.clary.image]` in `pyproject.toml`, those of an image file in YAML (`clary image build --file`, `clary run --image
@FILE.yaml`), and options of `clary image`. Hyphens may stand for underscores. All that is wrong is told at once, before
anything is fetched, built or pushed.

A stronger source lays its fields over those of a weaker one (`env`, `copy` and `secrets` name by name), and what an
image is made of is laid over a whole image as over its base: a stack's `--image` is the base of its flows. A Dockerfile
of one's own says all by itself."""
BASES = """\
A base is a reference (`HOST/REPOSITORY:TAG`, or with `@sha256:…`), or one of these short names. Docker Hub's image of
the same name is `docker.io/library/python:3.12`. The digest that a tag has is looked up once and remembered, until the
base is changed or `--upgrade` asks anew."""
BUILDERS = """\
Same fields, same meaning, whoever builds. What a builder cannot do is refused at once, with one that can."""
OTHERS = """\
Names that other tools have for the same fields are taken too."""


def page(made: str) -> str:
    """Return the page; ``made`` says where it comes from."""
    parts = [
        "# Images",
        made,
        INTRODUCTION,
        "## Fields",
        table(("field", "option", "meaning"), _fields()),
        "## Bases",
        BASES,
        table(("short name", "what it is"), _bases()),
        "## Builders",
        BUILDERS,
        table(("field", *_BUILDERS), _builders()),
        "## Names from other tools",
        OTHERS,
        table(("name", "field"), [(f"`{name}`", f"`{ours}`") for name, ours in sorted(spec.ALIASES.items())]),
    ]
    return "\n\n".join(parts) + "\n"


_BUILDERS = ("layers", "docker", "kaniko", "none")


def _fields() -> Iterator[tuple[str, ...]]:
    options = image_options.names()
    for name, text in texts(Image).items():
        yield f"`{name}`", f"`{options[name]}`", text.replace("``", "`")


def _bases() -> Iterator[tuple[str, ...]]:
    yield "`python:3.12`", "Docker's slim image of that Python; `python:3.12-slim-bookworm` names the system too"
    for version, image in bases.CUDA.items():
        yield f"`cuda:{version}`", f"AWS's base with CUDA {version} and Python {image.python.version}"
    for framework, versions in bases.FRAMEWORKS.items():
        known = ", ".join(versions)
        yield f"`{framework}:VERSION-gpu`, `-cpu`", f"AWS's Deep Learning Container of the stack's region: {known}"


def _builders() -> Iterator[tuple[str, ...]]:
    for name in texts(Image):
        cells = ["-" if name in choosing.CANNOT.get(builder, {}) else "yes" for builder in _BUILDERS]
        if "-" in cells:
            yield f"`{name}`", *cells
