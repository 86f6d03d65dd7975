"""What can be wrong with a wheel, said in one way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clary.errors import ConfigError


class Problem(Exception):  # noqa: N818 - it never leaves this room: who knows the wheel's name turns it into an error
    """Something is wrong with a wheel; ``entry`` is the file in it, where it is about one."""

    def __init__(self, text: str, entry: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.entry = entry


@contextmanager
def blamed(filename: str) -> Iterator[None]:
    """Turn a problem into ConfigError ``image.bad_wheel`` about this wheel."""
    try:
        yield
    except Problem as problem:
        raise _bad_wheel(filename, problem) from None


def _bad_wheel(filename: str, problem: Problem) -> ConfigError:
    where = f" ({problem.entry!a})" if problem.entry is not None else ""
    return ConfigError(
        "image.bad_wheel",
        f"The wheel {filename}{where} cannot be used: {problem.text}.",
        next_step="Pin another version or build of the package, or tell its makers. One that was damaged on this "
        "machine is fetched anew after `clary image cache prune --verify`.",
        field="image.requirements",
        details={"wheel": filename, **({"entry": problem.entry} if problem.entry is not None else {})},
    )
