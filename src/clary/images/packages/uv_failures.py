"""What uv says when it cannot resolve, as an error with a next step. Its whole text is in the error's details."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clary.errors import ClaryError, ConfigError, NotFoundError, PermissionDeniedError, Retry
from clary.images.packages import targets, uv_words
from clary.images.packages.documents import FIELD
from clary.images.packages.pylocks import no_wheel
from clary.images.packages.secrecy import scrubbed

if TYPE_CHECKING:
    from clary.images.building import Python
    from clary.images.packages.sources import Source

NAMES_INDEXES = "[[tool.uv.index]] in pyproject.toml, UV_INDEX or UV_DEFAULT_INDEX"
NAMES_CREDENTIALS = (
    "uv takes a name and a password from UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD, from ~/.netrc, from "
    "`uv auth login`, or from a keyring (UV_KEYRING_PROVIDER=subprocess)"
)

_REFUSED = re.compile(
    r"(?:index URL \((?P<url>[^)]+)\)|Failed to fetch: `?(?P<other>\S+?)`?\s).*?(?P<status>40[13]) ", re.DOTALL
)
_MISSING = re.compile(r"Because (?:there are no versions of )?([\w.-]+)(?:\[[^\]]*\])? was not found in the")
_NO_WHEEL = re.compile(
    r"Because (?:all versions of )?([\w.-]+)(?:[=<>!~][^\s]*)?(?:\[[^\]]*\])? (?:has|have) no (?:usable )?wheels"
)
_BUILDS_OFF = "building from source is disabled"
_UNREACHABLE = re.compile(
    r"error sending request|dns error|tcp connect error|[Tt]imed out|Connection refused|connection closed|"
    r"Could not connect|server error|50[0234] |429 |network connectivity is disabled|invalid peer certificate"
)
_UNBUILDABLE = re.compile(r"Failed to (?:download and )?(?:build|prepare)[^`\n]*`([^`\n]+)`")
_URL = re.compile(r"https?://[^\s/)`]+")
_LONGEST = 700


def told(stderr: str, source: Source, python: Python) -> ClaryError:
    """Return the error for what uv wrote. URLs lose their names and passwords."""
    whole = scrubbed(stderr).strip()
    text, details = uv_words.without_asides(whole), {"output": whole[-8000:]}
    refused, missing, unbuilt = _REFUSED.search(text), _MISSING.search(text), _NO_WHEEL.search(text)
    if "--torch-backend" in text:
        return _unknown_torch(text)
    if refused is not None:
        return index_refused(host(refused["url"] or refused["other"]), refused["status"], details)
    if "No space left on device" in text:
        return disk_full("uv's cache", "UV_CACHE_DIR")
    if "the network was disabled" in text:
        return unreachable("any URL", "UV_OFFLINE is set", details)
    if missing is not None:
        return _not_found(missing[1], source, details)
    if unbuilt is not None:
        return no_wheel(unbuilt[1], targets.described(python), details, has_source=_BUILDS_OFF in text)
    if "does not satisfy Python" in text:
        return _wrong_python(text, source, python, details)
    if "No solution found" in text or "conflicting URLs" in text:
        return _no_solution(text, source, details)
    if is_unreachable(text):
        return unreachable(host(text), _last_cause(text), details)
    unbuildable = _UNBUILDABLE.search(text)
    if unbuildable is not None:
        return build_failed(unbuildable[1].partition(" @ ")[0], last_words(text), details)
    if "parse" in text or "xpected" in text or "Distribution not found" in text:
        return _bad_requirement(text, source, details)
    return ConfigError(
        "image.resolve_failed",
        f"uv could not resolve {source}: {_shortened(text)}",
        next_step="uv's whole answer is in the details (-o json, or --debug). Mend what it names.",
        field=FIELD,
        details=details,
    )


def lock_outdated(lock: str, project: str, missing: str) -> ClaryError:
    """Return the error that a uv.lock does not know what its project has by now."""
    return ConfigError(
        "image.lock_outdated",
        f"{lock} is older than {project}: it does not know {scrubbed(missing)}.",
        next_step="Run `uv lock`.",
        field=FIELD,
    )


def index_refused(host: str, status: str, details: dict[str, str] | None = None) -> ClaryError:
    """Return the error that an index did not take the credentials, or had none."""
    return PermissionDeniedError(
        "image.index_refused",
        f"The package index at {host} refused the request ({status}).",
        next_step=f"{NAMES_CREDENTIALS}. Check that those for {host} are there and may read.",
        field=FIELD,
        details=details,
    )


def unreachable(host: str, reason: str, details: dict[str, str] | None = None) -> ClaryError:
    """Return the error that an index or a file's host did not answer."""
    return ConfigError(
        "image.index_unreachable",
        f"The package index at {host} could not be reached: {reason}.",
        next_step="Check the network and HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE, then run it again. Another index is "
        f"named by {NAMES_INDEXES}.",
        retry=Retry.LATER,
        field=FIELD,
        details=details,
    )


def build_failed(package: str, problem: str, details: dict[str, str] | None = None) -> ClaryError:
    """Return the error that no wheel, or no metadata, could be made of a package that comes as source."""
    return ConfigError(
        "image.build_failed",
        f"{package} comes as source, and could not be built: {problem.rstrip('.')}.",
        next_step="Ask for a version that has a wheel, see what `uv build --wheel` says where its source lies, or use "
        "the builder docker or kaniko, which builds it in the image.",
        field=FIELD,
        details=details,
    )


def disk_full(what: str, variable: str) -> ClaryError:
    """Return the error that the disk is full."""
    return ConfigError(
        "image.disk_full",
        f"The disk that holds {what} is full.",
        next_step=f"Free some space, or name another place by {variable}.",
        retry=Retry.LATER,
    )


def _not_found(package: str, source: Source, details: dict[str, str]) -> ClaryError:
    return NotFoundError(
        "image.package_not_found",
        f"No package index has {package!r}, which {source} asks for.",
        next_step=f"Check the name; where a private index holds it, name that by {NAMES_INDEXES} "
        "(uv does not read pip's settings).",
        field=FIELD,
        details=details,
    )


def _wrong_python(text: str, source: Source, python: Python, details: dict[str, str]) -> ClaryError:
    found = re.search(
        r"([\w.-]+(?:==[\w.+!-]+)?) (?:depends on|only supports|requires) Python\s?([<>=!~][^\s,)]*)", text
    )
    needs = f"{found[1]} needs Python{found[2]}" if found else "a requirement needs another Python"
    return ConfigError(
        "image.python_mismatch",
        f"Python {python.version} does not fit {source}: {needs}.",
        next_step="Set python in the image or choose another base, or ask for a version that has this Python.",
        field="image.python",
        details=details,
    )


def _unknown_torch(text: str) -> ClaryError:
    said, known = re.search(r"invalid value '([^']*)'", text), re.search(r"possible values: ([^\]]*)", text)
    return ConfigError(
        "image.unknown_torch",
        f"There are no builds of PyTorch named {said[1] if said else ''!r}.",
        next_step=f"uv knows: {known[1] if known else 'cpu, cu126, cu128 and others'}.",
        field="image.torch",
    )


def _no_solution(text: str, source: Source, details: dict[str, str]) -> ClaryError:
    return ConfigError(
        "image.no_solution",
        f"No versions fit all of {source}: {_shortened(text)}",
        next_step="Loosen one of the requirements that it names.",
        field=FIELD,
        details=details,
    )


def _bad_requirement(text: str, source: Source, details: dict[str, str]) -> ClaryError:
    return ConfigError(
        "image.bad_requirement",
        f"uv cannot read {source}: {_shortened(text)}",
        next_step="Mend the line that it names.",
        field=FIELD,
        details=details,
    )


def _shortened(text: str) -> str:
    """Return what helps of uv's explanation: its causes in one line, without its advice about its own options."""
    kept = text.partition("\nhint:")[0].partition("\n\nUsage: uv")[0].partition("\n\nFor more information")[0]
    kept = re.sub(r"(?m)^\s*(?:error|cause|warning):\s*", "", kept)
    kept = kept.replace("No solution found when resolving dependencies", "")
    kept = kept.replace(", we can conclude that your requirements are unsatisfiable", "")
    kept = " ".join(kept.split()) or "uv said nothing."
    return kept if len(kept) <= _LONGEST else f"{kept[:_LONGEST].rsplit(' ', 1)[0]} …"


def _last_cause(text: str) -> str:
    causes = re.findall(r"cause: (.+)", text) or text.splitlines() or ["no answer"]
    return str(causes[-1]).strip().rstrip(".")


def host(text: str) -> str:
    """Return the first host that a text names a URL of."""
    found = _URL.search(text)
    return found[0].partition("://")[2] if found else "an unknown host"


def last_words(text: str) -> str:
    """Return the last line of what a build wrote, one that speaks of an error if there is one; else uv's last cause."""
    text = text.partition("\nhint:")[0]
    before, told_by_uv, after = text.partition("error: Failed to ")
    said = after.partition("[stderr]")[2] or (before if told_by_uv else "") or _last_cause(text)
    lines = [line.strip() for line in said.splitlines() if re.search(r"\w", line)]
    lines = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)] or lines
    return re.sub(r"^(?:error|fatal): ", "", lines[-1])[:300] if lines else "nothing was said"


def is_unreachable(text: str) -> bool:
    """Tell whether what uv wrote is of a network that failed."""
    return _UNREACHABLE.search(text) is not None
