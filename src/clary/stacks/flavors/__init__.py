"""Flavors: the kinds of a component, each with its options. Found by entry points, the built-in ones like any other.

A flavor is a value. Another package offers one by an entry point of the group ``clary.flavors`` named
``<kind>.<flavor>``, and proves it with ``clary.stacks.flavors.contract.FlavorContract``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, NotFoundError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "clary.flavors"
"""The group of entry points."""


@dataclass(frozen=True)
class Kind:
    """A kind of component: what a stack has one of, as people name it."""

    name: str
    title: str
    """As ``clary stack show`` calls it."""
    command: str
    """The command group, such as ``clary artifact-store``; with ``_`` it works too."""
    role: str
    """In JSON, as programs written for Kitaru's stacks expect it."""
    required: bool = False
    """Whether every stack has one."""


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind("orchestrator", "Runner", "orchestrator", "runner", required=True),
        Kind("artifact_store", "Storage", "artifact-store", "storage", required=True),
        Kind("container_registry", "Image registry", "container-registry", "image_registry"),
        Kind("image_builder", "Image builder", "image-builder", "image_builder"),
        Kind("secrets_manager", "Secrets manager", "secrets-manager", "additional_component"),
    )
}
"""Every kind of component, in the order in which they are shown."""


def text(value: Any) -> str | None:
    """Accept text that is not empty."""
    return None if isinstance(value, str) and value.strip() else "expected text"


def flag(value: Any) -> str | None:
    """Accept true or false."""
    return None if isinstance(value, bool) else "expected true or false"


def mapping(value: Any) -> str | None:
    """Accept a mapping of text to text."""
    fine = isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair)
    return None if fine else "expected a mapping such as {name: value}"


@dataclass(frozen=True)
class Option:
    """One option of a flavor."""

    name: str
    meaning: str
    check: Callable[[Any], str | None] = text
    """Says what is wrong with a value, or returns None."""
    required: bool = False
    aliases: tuple[str, ...] = ()
    """Other tools' names for it, which are accepted."""
    metavar: str = "VALUE"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the options of a component."""

    option: str
    """Dotted path below the component, such as ``tags.team``."""
    message: str
    next_step: str = ""


Values = Mapping[str, Any]


def _no_further_problems(_options: Values) -> list[Problem]:
    return []


@dataclass(frozen=True)
class Flavor:
    """One kind of a component.

    ``provide`` turns checked options into fields of ``clary.stacks.model.Stack``: all that the rest of Clary sees of a
    component. ``problems`` judges options that are well formed one by one.
    """

    kind: str
    """A name in ``KINDS``."""
    name: str
    summary: str
    options: tuple[Option, ...]
    provide: Callable[[Values], dict[str, Any]]
    problems: Callable[[Values], list[Problem]] = _no_further_problems
    known: Callable[[], tuple[str, ...]] = field(default=lambda: ())
    """Names beyond ``options`` that ``rest`` understands."""
    rest: Callable[[Values], tuple[dict[str, Any], list[Problem]]] = field(default=lambda given: (dict(given), []))
    """Judges the options of those names and returns them under their own."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Documented options of other tools that have no meaning here, with what to do instead."""

    def canonical(self, given: Values, *, whole: bool = True) -> tuple[dict[str, Any], list[Problem]]:
        """Return the options under their own names, and every problem with them.

        Hyphens and underscores are the same. A missing required option, an unknown name (with the nearest right one),
        a name given twice and a value that does not fit are problems. With ``whole`` false these are some options, to
        be laid over others: nothing is missing then.
        """
        named, others, found = self._named(given)
        for option in self.options:
            if option.name in named and (message := option.check(named[option.name])):
                found.append(Problem(option.name, message))
            elif whole and option.required and option.name not in named:
                found.append(Problem(option.name, "is needed", f"Give --{option.name}={option.metavar}."))
        rest, wrong = self.rest(others)
        found += wrong
        options = {**named, **rest}
        return options, found if found or not whole else self.problems(options)

    def own_name(self, spelling: str) -> str:
        """Return an option's own name for any spelling of it; a name that is no option's is returned with ``_``."""
        plain = spelling.replace("-", "_")
        return self._names().get(plain, plain)

    def knows(self, spelling: str) -> bool:
        """Tell whether a name means something to this flavor, if only to be refused with what to do instead."""
        plain = spelling.replace("-", "_")
        return plain in self._names() or plain in self.known() or plain in self.refused

    def _names(self) -> dict[str, str]:
        return {spelling: option.name for option in self.options for spelling in (option.name, *option.aliases)}

    def _named(self, given: Values) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
        """Return our own options by name, those that are for ``rest``, and what is wrong with the names."""
        names = self._names()
        others = set(self.known())
        named: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        found: list[Problem] = []
        for spelling, value in given.items():
            plain = spelling.replace("-", "_")
            name = names.get(plain, plain)
            taken = named if plain in names else rest
            if plain not in names and (plain in self.refused or plain not in others):
                found.append(self._unknown(plain, [*names, *others]))
            elif name in taken:
                found.append(Problem(name, "is given twice", "Give it once, in one spelling."))
            else:
                taken[name] = value
        return named, rest, found

    def _unknown(self, name: str, known: list[str]) -> Problem:
        if name in self.refused:
            return Problem(name, "has no meaning here", self.refused[name])
        meant = nearest(name, known)
        some = ", ".join(option.name for option in self.options) or "none"
        describe = f"`clary {KINDS[self.kind].command} flavor describe {self.name}`"
        return Problem(
            name,
            f"is no option of the {self.name} {title_of(self.kind)}",
            f"Did you mean {meant!r}?" if meant else f"{describe} shows its options, such as: {some}.",
        )


def title_of(kind: str) -> str:
    """Return how a kind of component is written in a sentence: ``container registry``."""
    return kind.replace("_", " ")


_OTHER_NAMES = {"image_builder.local": "image_builder.docker"}
"""Other tools' names for flavors, which are accepted: ZenML's ``local`` builds with the Docker of this machine."""


@lru_cache(maxsize=1)
def _offered() -> Mapping[str, list[EntryPoint]]:
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _entries(kind: str, name: str) -> list[EntryPoint]:
    entry = f"{kind}.{name}"
    found = _offered().get(entry) or _offered().get(_OTHER_NAMES.get(entry, ""))
    if found is None:
        known = names(kind)
        meant = nearest(name, known)
        raise NotFoundError(
            "flavor.not_found",
            f"There is no flavor {name!r} of {with_article(kind)}.",
            next_step=f"Did you mean {meant!r}?" if meant else f"There are: {', '.join(known)}.",
            field="flavor",
        )
    return found


def names(kind: str) -> list[str]:
    """Return the names of the flavors that are installed for a kind of component."""
    return sorted(name.partition(".")[2] for name in _offered() if name.startswith(f"{kind}."))


def find(kind: str, name: str) -> Flavor:
    """Return an installed flavor, by another tool's name for it too; it is imported now.

    Raises NotFoundError ``flavor.not_found`` with the nearest one, ConfigError ``flavor.broken`` for an entry point
    that cannot be loaded or gives something else, and for a name that several packages offer.
    """
    entry, *others = _entries(kind, name)
    if others:
        raise broken(entry.name, f"several packages offer it, {package_of(kind, name)}")
    try:
        found = entry.load()
    except Exception as error:
        raise broken(entry.name, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, Flavor) or f"{found.kind}.{found.name}" != entry.name:
        raise broken(entry.name, f"it gives no flavor {name!r} of {with_article(kind)}")
    return found


def package_of(kind: str, name: str) -> str:
    """Return the package that offers a flavor, as a requirement: ``clary==1.0``; the flavor is not imported.

    Raises NotFoundError ``flavor.not_found``.
    """
    packages = (entry.dist for entry in _entries(kind, name))
    return ", ".join(f"{one.name}=={one.version}" for one in packages if one is not None)


def with_article(kind: str) -> str:
    """Return how a kind of component is written in a sentence, with its article."""
    title = title_of(kind)
    return f"{'an' if title[0] in 'aeiou' else 'a'} {title}"


def broken(name: str, reason: str) -> ConfigError:
    """Return the error for a flavor, named ``<kind>.<flavor>``, that its package has got wrong."""
    return ConfigError(
        "flavor.broken",
        f"The flavor {name} cannot be used: {reason}.",
        next_step="Update or remove the package that offers it; `clary COMPONENT flavor list` names the package.",
    )
