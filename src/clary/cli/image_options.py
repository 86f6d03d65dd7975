"""What an image is made of, as options of a command: every field of ``Image``, and a file of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from clary.errors import UsageError
from clary.image import BUILDERS
from clary.settings.options import from_text

_MANY = {
    "requirements": ("--requirements", "-r", "PACKAGE|FILE", "A package, or one file of them. May be repeated."),
    "extras": ("--extra", None, "NAME", "An extra of the project. May be repeated."),
    "groups": ("--group", None, "NAME", "A dependency group of the project. May be repeated."),
    "apt": ("--apt", None, "PACKAGE", "A Debian package. May be repeated."),
    "env": ("--env", None, "NAME=VALUE", "A variable of the image. May be repeated."),
    "copy": ("--copy", None, "PATH:PLACE", "A file or folder, and its place in the image. May be repeated."),
    "entrypoint": ("--entrypoint", None, "WORD", "A word of the entry point. May be repeated."),
    "secrets": ("--secret", None, "NAME=REFERENCE", "A variable of the build: {{secrets.NAME.KEY}}. May be repeated."),
}
_ONE = {
    "base": ("BASE", "What it is made on: a reference, python:3.12, cuda:12.9, pytorch:2.8-gpu…"),
    "python": ("VERSION", "The version of Python, such as 3.12."),
    "torch": ("BACKEND", "Which builds of PyTorch: cpu, cu126…"),
    "dockerfile": ("FILE", "A Dockerfile of your own, built as it is."),
    "context": ("FOLDER", "What that may copy from. Default: its own folder."),
    "user": ("USER", "Who runs it."),
    "workdir": ("FOLDER", "Where it runs."),
    "platform": ("PLATFORM", "Default linux/amd64, whatever this machine is."),
    "builder": ("BUILDER", f"One of {', '.join(BUILDERS)}. Default: the stack's, else layers."),
    "repository": ("NAME", "In the stack's registry."),
    "tag": ("TAG", "A further tag."),
}
_PAIRS = ("env", "secrets")


def names() -> dict[str, str]:
    """Return the option of each field."""
    found = {name: f"--{name}" for name in _ONE} | {name: long for name, (long, *_) in _MANY.items()}
    return {**found, "code": "--code/--no-code"}


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of an image, and ``--file``."""
    options = [click.option("-f", "--file", "file", metavar="FILE", help="A YAML file with these, by their names.")]
    for name, (metavar, text) in _ONE.items():
        options.append(click.option(f"--{name}", metavar=metavar, help=text))
    for name, (long, short, metavar, text) in _MANY.items():
        names = [long, *([short] if short else [])]
        options.append(click.option(*names, name, multiple=True, metavar=metavar, help=text))
    options.append(click.option("--code/--no-code", default=None, help="Bake the project's code in, or do not."))
    for decorate in reversed(options):
        command = decorate(command)
    return command


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Take those options out of a command's values and return what they say, over what the file says.

    Raises UsageError ``cli.bad_input``, and what ``image_file`` raises.
    """
    file = values.pop("file", None)
    found = dict(image_file(file)) if file else {}
    for name in _ONE:
        if (value := values.pop(name, None)) is not None:
            found[name] = value
    for name in _MANY:
        if listed := values.pop(name, ()):
            found[name] = _value(name, list(listed))
    if (code := values.pop("code", None)) is not None:
        found["code"] = code
    return found


def image_file(file: str) -> Mapping[str, Any]:
    """Return what a YAML file says of an image.

    Raises ConfigError ``image.bad_file``, ValidationError ``image.invalid``, which names the file.
    """
    from pathlib import Path

    from clary.errors import ConfigError
    from clary.images import spec
    from clary.stacks import plain_yaml

    try:
        said = plain_yaml.load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        said, problem = None, str(error.strerror)
    except ValueError as error:
        said, problem = None, str(error)
    else:
        problem = "it is no table of an image's fields"
    if isinstance(said, Mapping):
        inner = said.get("image")
        fields: Mapping[str, Any] = inner if isinstance(inner, Mapping) and len(said) == 1 else said
        spec.parsed(fields, source=file, whole=False)  # options may say what is missing
        return fields
    raise ConfigError(
        "image.bad_file",
        f"{file} cannot be read: {problem}.",
        next_step="Write fields of an image in YAML, such as `base: python:3.12`; docs/reference/image.md has them.",
        field="file",
    )


def image_value(text: str) -> Any:
    """Return what ``--image`` says: a reference, or what an image is made of, as JSON or with ``@FILE``."""
    return image_file(text[1:]) if text.startswith("@") else from_text("image", text, "the option --image")


def _value(name: str, listed: list[str]) -> Any:
    if name in _PAIRS:
        return dict(_pair(name, one) for one in listed)
    if name == "requirements" and len(listed) == 1 and _is_file(listed[0]):
        return listed[0]
    return listed


def _is_file(text: str) -> bool:
    return text.endswith((".txt", ".toml", ".lock", ".py", ".in")) and "==" not in text


def _pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if equals and key:
        return key, value
    option = _MANY[name][0]
    raise UsageError(
        "cli.bad_input",
        f"{text!r} is not of the form NAME=VALUE.",
        next_step=f"Write {option} NAME=VALUE.",
        field=option.removeprefix("--"),
    )
