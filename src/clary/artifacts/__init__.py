"""Values to bytes and back. Runs inside the job; libraries are used where the user has imported them."""

from clary.artifacts.paths import only_names
from clary.artifacts.storing import progress_to
from clary.artifacts.values import INLINE_LIMIT, Encoded, decode, digest, encode, mark_of, preview, shown

__all__ = [
    "INLINE_LIMIT",
    "Encoded",
    "decode",
    "digest",
    "encode",
    "mark_of",
    "only_names",
    "preview",
    "progress_to",
    "shown",
]
