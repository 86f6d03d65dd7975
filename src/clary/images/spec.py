"""What was said of an image, from Python, YAML, TOML or the command line, checked: all problems are told at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

from clary.errors import ClaryError, ValidationError, nearest
from clary.image import BUILDERS, Image
from clary.images import places
from clary.images.platforms import Platform
from clary.secrets import references

NAMES = tuple(one.name for one in fields(Image))
ALIASES: Mapping[str, str] = {
    "base_image": "base",
    "parent_image": "base",
    "apt_packages": "apt",
    "environment": "env",
    "build_context": "context",
    "build_context_root": "context",
    "image_tag": "tag",
    "python_version": "python",
    "target_repository": "repository",
}
"""Other tools' names of the same fields."""
_SPARE = ("platform", "builder", "repository", "tag", "secrets", "context", "dockerfile")
"""What may be said beside a Dockerfile, which says the rest itself."""

_PYTHON = re.compile(r"3\.\d{1,2}")
_OLDEST = 8
_TORCH = re.compile(r"auto|cpu|cu\d{2,3}|rocm[\d.]+|xpu")
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")
"""A package, as Debian's policy has it (5.6.1), and a version."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]*\$?(:[a-z_][a-z0-9_-]*\$?)?|\d{1,10}(:\d{1,10})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CONTENT_TAG = re.compile(r"clary-[0-9a-f]{32}")
_LARGEST_ID = 2**31 - 1
"""Of a user or group. Source: moby's package ``user``."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _WrongError(Exception):
    """A value does not have its form: what is wrong, and what to do."""


def parsed(values: Mapping[str, Any], *, field: str = "image", source: str = "", whole: bool = True) -> Image:
    """Return the image that these values describe, in their one form.

    Args:
        values: by the names of ``Image``'s fields, in any spelling; None is the default.
        field: what the values are called in messages.
        source: where they stand, in words, such as ``[tool.clary].image in /a/pyproject.toml``.
        whole: whether this is all that is said: then fields must not contradict each other.

    Raises ValidationError ``image.invalid`` with every finding in ``details["findings"]``.
    """
    findings: list[dict[str, str]] = []
    good: dict[str, Any] = {}
    for said, value in values.items():
        name = ALIASES.get(plain := str(said).replace("-", "_"), plain)
        if name in good:
            findings.append(_finding(f"{field}.{said}", f"{name} is said twice.", "Say it once."))
        elif name not in NAMES:
            meant = nearest(name, (*NAMES, *ALIASES))
            step = f"Did you mean {meant!r}?" if meant else f"Its fields are: {', '.join(NAMES)}."
            findings.append(_finding(f"{field}.{said}", f"An image has no field {said!r}.", step))
        elif value is not None:
            try:
                good[name] = _FORMS[name](value)
            except _WrongError as wrong:
                findings.append(_finding(f"{field}.{name}", *wrong.args))
            except ClaryError as error:
                findings.append(_finding(f"{field}.{name}", error.summary, error.next_step))
    if whole:
        findings += [_finding(f"{field}.{name}", message, step) for name, message, step in _contradictions(good)]
    if findings:
        raise _invalid(findings, source)
    return Image(**good)


def checked(image: Image, *, source: str = "") -> Image:
    """Return an image that was made in Python, checked. Raises what ``parsed`` raises."""
    return parsed({one.name: getattr(image, one.name) for one in fields(image)}, source=source)


def _invalid(findings: list[dict[str, str]], source: str) -> ValidationError:
    first = findings[0]
    heading = f"The image of {source} cannot be made:" if source else "The image cannot be made as it is described:"
    summary = f"{heading} {first['message']}"
    if len(findings) > 1:
        lines = [f"  {one['path']}: {one['message']} {one['next_step']}" for one in findings]
        summary = "\n".join([heading, *lines])
    return ValidationError(
        "image.invalid", summary, next_step=first["next_step"], field=first["path"], details={"findings": findings}
    )


def _finding(path: str, message: str, next_step: str) -> dict[str, str]:
    return {"path": path, "message": message, "next_step": next_step}


def _contradictions(good: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    if good.get("dockerfile"):
        for name in good:
            if name not in _SPARE and good[name] != getattr(Image(), name):
                found.append((name, f"{name} is said beside a Dockerfile.", "Say it in the Dockerfile alone."))
    elif good.get("context"):
        found.append(("context", "context is said without a Dockerfile.", "Name the Dockerfile, or use copy."))
    listed = good.get("requirements")
    for name in ("extras", "groups"):
        if good.get(name) and isinstance(listed, tuple):
            found.append((name, f"{name} are a project's, and requirements is a list.", f"Leave {name} out."))
    return found


def _word(value: Any) -> str:
    """Return a text as it is. No variable, argument or path can hold what is refused."""
    if not isinstance(value, str):
        raise _WrongError(f"It must be text, not {value!r}.", "Write it in quotes.")
    if "\0" in value or _SURROGATE.search(value):
        raise _WrongError(f"{value!a} holds a character that no text of an image can hold.", "Leave the character out.")
    return value


def _text(value: Any) -> str:
    text = _word(value).strip()
    if not text:
        raise _WrongError("It is empty.", "Leave it out, or say something.")
    return text


def _matching(pattern: re.Pattern[str], what: str, next_step: str) -> Callable[[Any], str]:
    def form(value: Any) -> str:
        text = _text(value)
        if pattern.fullmatch(text):
            return text
        raise _WrongError(f"{text!r} is no {what}.", next_step)

    return form


def _texts(value: Any, form: Callable[[Any], str] = _text) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _WrongError(f"It must be a list, not {value!r}.", "Write a list of texts.")
    return tuple(form(one) for one in value)


def _requirements(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return _text(value)
    listed = _texts(value)
    for one in listed:
        if one.startswith("-"):
            raise _WrongError(
                f"{one!r} is an option of pip, not a package.",
                "Put it into a requirements file and name that, or set it in uv.toml, which is read.",
            )
    return listed


def _python(value: Any) -> str:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _text(value)
    if not _PYTHON.fullmatch(text):
        raise _WrongError(f"{text!r} is no version of Python 3 with its minor number alone.", 'Write "3.12".')
    if int(text[2:]) < _OLDEST:
        step = f'Write "{text}0" in quotes: as a number it lost its nought.' if text == "3.1" else 'Write "3.12".'
        raise _WrongError(f"Python {text} is too old for packages of today.", step)
    return text


def _apt(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    for name in names:
        if not _APT.fullmatch(name):
            raise _WrongError(f"{name!r} cannot be a Debian package.", "Write its name, or name=version.")
    return tuple(sorted(set(names)))


def _mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _WrongError(f"It must be a table of names and texts, not {value!r}.", 'Write {"NAME": "value"}.')
    return {str(name): _scalar(name, one) for name, one in value.items()}


def _scalar(name: object, value: Any) -> str:
    if isinstance(value, bool):
        raise _WrongError(f"{name} is {str(value).lower()}.", f'Write it in quotes: "{str(value).lower()}".')
    if isinstance(value, (str, int, float)):
        return _word(str(value))
    raise _WrongError(f"{name} must be text.", "Write it in quotes.")


def _variables(value: Any) -> dict[str, str]:
    found = _mapping(value)
    for name, text in found.items():
        _variable(name)
        if references.has(text):
            raise _WrongError(
                f"{name} would be kept in the image, where everybody who pulls it can read it.",
                "Set it in the job's settings (environment), which are filled in when the job runs.",
            )
    return found


def _variable(name: str) -> None:
    if not _VARIABLE.fullmatch(name):
        raise _WrongError(f"{name!r} cannot be a variable.", "Use letters, digits and '_'.")
    if name.upper().startswith("CLARY_"):
        raise _WrongError(f"{name} is Clary's own.", "Choose another name.")


def _secrets(value: Any) -> dict[str, str]:
    found = _mapping(value)
    for name, text in found.items():
        _variable(name)
        whole = references.find(text)
        if len(whole) != 1 or str(whole[0]) != re.sub(r"\s", "", text):
            raise _WrongError(f"{name} is no reference to a secret.", "Write {{secrets.NAME.KEY}}.")
    return {name: str(references.find(text)[0]) for name, text in found.items()}


def _copy(value: Any) -> dict[str, str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [_text(one).rpartition(":") for one in value]
        for _, colon, text in pairs:
            if not colon:
                raise _WrongError(f"{text!r} is not of the form PATH:PLACE.", f"Write one such as {text}:/opt/{text}.")
        value = {source: target for source, _, target in pairs}
    found = {}
    for source, target in _mapping(value).items():
        path = PurePosixPath(source)
        if not source or path.is_absolute() or ".." in path.parts:
            raise _WrongError(f"{source!r} is not inside the project.", "Write a path below the project's folder.")
        found[str(path)] = _place(target)
    return found


def _folder(value: Any) -> str:
    text = _text(value)
    path = PurePosixPath(f"/{text.lstrip('/')}" if text.startswith("/") else text)
    if not path.is_absolute() or ".." in path.parts:
        raise _WrongError(f"{text!r} is no absolute place in the image.", "Write one such as /opt/app.")
    if any(unicodedata.category(one) == "Cc" for one in text):
        raise _WrongError(f"{text!r} holds control characters.", "Write a plain path such as /opt/app.")
    return str(path)


def _place(value: Any) -> str:
    """Return a place for what is copied; one that ends in ``/`` is a folder, into which a file goes by its name."""
    place = _folder(value)
    if told := places.copy_problem(place):
        raise _WrongError(f"Nothing can be put at {place}: {told}.", "Write one such as /opt/app.")
    return f"{place}/" if value.strip().endswith("/") else place


def _user(value: Any) -> str:
    text = _matching(_USER, "user", "Write a name, a uid, or uid:gid.")(value)
    if any(part.isdecimal() and int(part) > _LARGEST_ID for part in text.split(":")):
        raise _WrongError(f"{text} is no user: ids go to {_LARGEST_ID}.", "Write a smaller number, or a name.")
    return text


def _tag(value: Any) -> str:
    text = _matching(_TAG, "tag", "Use letters, digits, '.', '_' and '-', at most 128.")(value)
    if _CONTENT_TAG.fullmatch(text):
        told = f"{text} is the form of the tags that Clary gives by content: it would stand for another image."
        raise _WrongError(told, "Choose another tag.")
    return text


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _WrongError(f"It must be true or false, not {value!r}.", "Write true or false.")


def _entrypoint(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        words = ", ".join(f'"{word}"' for word in value.split())
        raise _WrongError("An entry point is a list of words: no shell reads it.", f"Write [{words}].")
    return _texts(value, _word)


def _builder(value: Any) -> str:
    text = _text(value)
    if text in BUILDERS:
        return text
    meant = nearest(text, BUILDERS)
    step = f"Did you mean {meant!r}?" if meant else f"They are: {', '.join(BUILDERS)}."
    raise _WrongError(f"There is no builder {text!r}.", step)


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "base": _text,
    "requirements": _requirements,
    "extras": _texts,
    "groups": _texts,
    "python": _python,
    "torch": _matching(_TORCH, "build of PyTorch", "Write cpu, auto, or a CUDA version such as cu126."),
    "apt": _apt,
    "env": _variables,
    "dockerfile": _text,
    "context": _text,
    "copy": _copy,
    "code": _flag,
    "entrypoint": _entrypoint,
    "user": _user,
    "workdir": _folder,
    "platform": lambda value: str(Platform.parse(_text(value))),
    "builder": _builder,
    "repository": _matching(_REPOSITORY, "repository's name", "Use a-z, 0-9 and . _ - /, for example team/app."),
    "tag": _tag,
    "secrets": _secrets,
}
"""Each field's form."""
