"""YAML as people write options: what JSON can hold, and nothing that Python would make of it beyond that."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def load(text: str) -> Any:
    """Read one YAML document.

    A date is the text it was written as, and ``{{secrets.NAME.KEY}}`` is text, though YAML has another reading of both.
    Raises ValueError with the reason, in one line that does not repeat the text, for what is no YAML or what no JSON
    could hold.
    """
    import yaml

    if text.lstrip().startswith("{{"):
        return text.strip()
    try:
        value = yaml.load(text, _loader())  # noqa: S506 a safe loader, that makes less still
        json.dumps(value)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it holds a number or an object that cannot be kept") from None
    except TypeError:
        raise ValueError("it holds something other than texts, numbers, true, false, lists and mappings") from None
    return value


def _reason(error: Any) -> str:
    """Return what is wrong with a text as YAML, and in which line, where the parser tells."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    said = problem or str(error).splitlines()[0]
    return said if mark is None else f"{said} (line {mark.line + 1})"


@lru_cache(maxsize=1)
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader without dates."""

    Loader.yaml_implicit_resolvers = {
        first: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader
