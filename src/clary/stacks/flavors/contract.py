"""What Clary asks of a flavor, as tests: for Clary's own flavors and for anybody's.

In the tests of the package that offers a flavor::

    from clary.stacks.flavors.contract import FlavorContract
    from my_package import STORE

    class TestStore(FlavorContract):
        flavor = STORE
        example = {"path": "s3://bucket/prefix"}
        bad = [{"path": "no bucket"}]

pytest runs its methods; they are plain functions with plain asserts, so any other runner can. The package must be
installed: the entry point is a part of the contract.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from clary.stacks import components, flavors, forms
from clary.stacks.components import provided
from clary.stacks.flavors import KINDS, Flavor, Option, Problem

ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", " ", "\n", "é 漢 🙂", "x" * 100_000, [], [1], {}, {"a": 1}, {1: 2})
"""Values that somebody may give to any option."""
RESERVED = frozenset({"flavor", "output", "debug", "help", "env"})
"""Options of ``clary COMPONENT register`` itself, which never reach a flavor."""


class FlavorContract:
    """Subclass this in a test module, and say which flavor it is."""

    flavor: ClassVar[Flavor]
    example: ClassVar[Mapping[str, Any]] = {}
    """Options that make a component: all that are needed, best with some that are not."""
    bad: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Options that must be refused."""

    def test_its_entry_point_gives_it(self) -> None:
        """The package offers it under ``<kind>.<flavor>`` of the group ``clary.flavors``."""
        kind, name = self.flavor.kind, self.flavor.name
        assert kind in KINDS, f"there is no kind of component {kind!r}; the kinds are {', '.join(KINDS)}"
        assert forms.is_name(name), f"{name!r} cannot be typed as a name. {forms.NAME_RULE}"
        assert name in flavors.names(kind), f"no installed package has the entry point {kind}.{name} of {flavors.GROUP}"
        assert flavors.find(kind, name) is self.flavor, f"the entry point {kind}.{name} gives another flavor"

    def test_it_says_what_it_is(self) -> None:
        """It has a summary, and every option a meaning and a word for its value, in one line each."""
        said = {"the flavor": self.flavor.summary}
        said |= {f"the meaning of {option.name}": option.meaning for option in self.flavor.options}
        said |= {f"the metavar of {option.name}": option.metavar for option in self.flavor.options}
        said |= {f"what to do instead of {name}": text for name, text in self.flavor.refused.items()}
        for what, text in said.items():
            assert text.strip(), f"{what} is empty"
            assert "\n" not in text, f"{what} has more than one line"

    def test_every_spelling_is_of_one_option(self) -> None:
        """Names are identifiers in small letters, and no two options have one in common."""
        names = [name for option in self.flavor.options for name in _spellings(option)]
        for name in names:
            assert name.isidentifier(), f"{name!r} cannot be typed as an option"
            assert name == name.lower(), f"{name!r} has capital letters"
            assert name not in RESERVED, f"{name!r} is an option of the command line itself"
            assert names.count(name) == 1, f"{name!r} names two options"
            assert name not in self.flavor.refused, f"{name!r} is an option and refused"

    def test_the_example_makes_a_component(self) -> None:
        """The example is accepted, and gives fields that a stack has."""
        assert self._refusals(self.example) == []
        made = components.make(self.flavor.kind, "example", self.flavor.name, self.example)
        assert made.provides, "the flavor provides nothing, so a stack would not notice it"

    def test_options_under_their_own_names_stay_as_they_are(self) -> None:
        """What is stored can be given again and is the same."""
        once = self._canonical(self.example)
        assert _plain(self._canonical(_plain(once))) == _plain(once)

    def test_hyphens_and_underscores_are_the_same(self) -> None:
        """``--some-option`` is ``--some_option``."""
        hyphened = {name.replace("_", "-"): value for name, value in self.example.items()}
        underscored = {name.replace("-", "_"): value for name, value in self.example.items()}
        assert _plain(self._canonical(hyphened)) == _plain(self._canonical(underscored))

    def test_other_spellings_become_its_own(self) -> None:
        """An alias is stored under the option's name."""
        for option, value in self._given():
            for alias in option.aliases:
                rest = self._without(option)
                assert _plain(self._canonical({**rest, alias: value})) == _plain(self._canonical(self.example)), alias

    def test_every_needed_option_is_missed_by_name(self) -> None:
        """All that is missing is named at once, with what to type."""
        needed = {option.name for option in self.flavor.options if option.required}
        missed = {problem.option: problem for problem in self._refusals({}) if problem.option in needed}
        assert set(missed) == needed
        assert all(problem.next_step for problem in missed.values())
        for option in self.flavor.options:
            if option.required:
                assert [problem.option for problem in self._refusals(self._without(option))] == [option.name]

    def test_some_options_can_be_judged_alone(self) -> None:
        """Options to be laid over others are complete by themselves."""
        for name, value in self._canonical(self.example).items():
            options, problems = self.flavor.canonical({name: value}, whole=False)
            assert (list(options), problems) == ([name], [])

    def test_an_unknown_option_is_refused_with_a_hint(self) -> None:
        """A misspelling gets the nearest right name, anything else where the names are."""
        strange = self._refusals({**self.example, "zzqqxxyy": 1})
        assert [(problem.option, bool(problem.next_step)) for problem in strange] == [("zzqqxxyy", True)]
        for option in self.flavor.options:
            misspelt = f"{option.name}x"
            found = [problem for problem in self._refusals({**self.example, misspelt: 1}) if problem.option == misspelt]
            assert found, f"{misspelt} is taken for an option"
            assert "Did you mean" in found[0].next_step

    def test_an_option_in_two_spellings_is_refused(self) -> None:
        """Nobody can tell which of the two was meant."""
        for option, value in self._given():
            spellings = dict.fromkeys([option.name, option.name.replace("_", "-"), *option.aliases])
            for other in list(spellings)[1:]:
                twice = {**self._without(option), option.name: value, other: value}
                assert option.name in [problem.option for problem in self._refusals(twice)], other

    def test_refused_options_say_what_to_do(self) -> None:
        """What other tools have and this flavor has not is no mere misspelling."""
        for name, instead in self.flavor.refused.items():
            assert Problem(name, "has no meaning here", instead) in self._refusals({**self.example, name: "x"})

    def test_bad_options_are_refused(self) -> None:
        """Every problem says what is wrong."""
        for given in self.bad:
            problems = self._refusals(given)
            assert problems, f"{given} is accepted"
            assert all(problem.option and problem.message for problem in problems)

    def test_no_value_breaks_it(self) -> None:
        """Whatever somebody gives, the flavor says what is wrong with it and raises nothing."""
        for option in self.flavor.options:
            for value in ODD:
                wrong = option.check(value)
                assert wrong != "", f"{option.name}: {value!r:.50}"
                options, problems = self.flavor.canonical({**self._without(option), option.name: value})
                if not problems:
                    provided(self.flavor, _plain(options))

    def test_what_it_provides_survives_the_store(self) -> None:
        """Options and what is made of them are kept as JSON, and mean the same when they come back."""
        options = self._canonical(self.example)
        assert _plain(provided(self.flavor, options)) == _plain(provided(self.flavor, _plain(options)))

    def test_providing_changes_nothing(self) -> None:
        """Asked twice it says the same, and it leaves the options alone."""
        options = self._canonical(self.example)
        before = copy.deepcopy(options)
        first = copy.deepcopy(self.flavor.provide(options))
        assert options == before
        assert self.flavor.provide(options) == first
        given = copy.deepcopy(dict(self.example))
        self.flavor.canonical(given)
        assert given == self.example

    def _canonical(self, given: Mapping[str, Any]) -> dict[str, Any]:
        options, problems = self.flavor.canonical(given)
        assert problems == []
        return options

    def _refusals(self, given: Mapping[str, Any]) -> list[Problem]:
        return self.flavor.canonical(given)[1]

    def _given(self) -> Iterator[tuple[Option, Any]]:
        """Yield the options of the example with their values."""
        options = self._canonical(self.example)
        for option in self.flavor.options:
            if option.name in options:
                yield option, options[option.name]

    def _without(self, option: Option) -> dict[str, Any]:
        """Return the example without one of its options, however it is spelt there."""
        spellings = _spellings(option)
        return {name: value for name, value in self.example.items() if name.replace("-", "_") not in spellings}


def _spellings(option: Option) -> tuple[str, ...]:
    return (option.name, *option.aliases)


def _plain(value: Any) -> Any:
    """Return a value as the store gives it back."""
    return json.loads(json.dumps(value))
