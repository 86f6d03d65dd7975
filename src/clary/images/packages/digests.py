"""Holds what was chosen against the digests that a requirements file lists: uv drops them when it resolves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images.building import Wheel
from clary.images.packages import requirement_files, targets
from clary.images.packages.documents import FIELD

if TYPE_CHECKING:
    from clary.images.building import Python
    from clary.images.packages.pylocks import Raw
    from clary.images.packages.sources import Source

_CHECKED = "sha256:"
"""Of what a lock names, uv tells this digest alone."""


def check(source: Source, chosen: Iterable[Wheel | Raw], python: Python) -> None:
    """Refuse packages whose digests a requirements file lists otherwise, or not at all though it asks for all.

    Raises ConfigError ``image.hash_mismatch``, ``image.hash_missing``, ``image.hash_unsupported``.
    """
    assert source.file is not None
    said = requirement_files.read(source.file)
    environment: dict[str, Any] = {**targets.marker_environment(python)}
    allowed = said.digests(environment)
    bare = []
    for one in chosen:
        listed = allowed.get(one.name)
        if not one.sha256 or not listed:
            bare.append(one.name)
        elif f"{_CHECKED}{one.sha256}" not in listed:
            raise _refused(source, one, listed)
    if bare and said.requires_digests:
        raise ConfigError(
            "image.hash_missing",
            f"{source} has --require-hashes, and lists no digest for {', '.join(bare)}.",
            next_step="List all packages with digests; `uv pip compile --generate-hashes` does. "
            "Folders and repositories have none.",
            field=FIELD,
        )


def _refused(source: Source, one: Wheel | Raw, listed: frozenset[str]) -> ConfigError:
    file = one.filename if isinstance(one, Wheel) else one.name
    if not any(digest.startswith(_CHECKED) for digest in listed):
        kinds = ", ".join(sorted({digest.partition(":")[0] for digest in listed}))
        return ConfigError(
            "image.hash_unsupported",
            f"{source} lists digests of {one.name} that Clary does not check: {kinds}.",
            next_step="List digests of sha256; `uv pip compile --generate-hashes` does.",
            field=FIELD,
        )
    return ConfigError(
        "image.hash_mismatch",
        f"{source} does not allow {file}: its sha256, {one.sha256}, is not listed.",
        next_step="List the digests of all platforms; `uv pip compile --universal --generate-hashes` does.",
        field=FIELD,
        details={"found": one.sha256, "allowed": sorted(listed)},
    )
