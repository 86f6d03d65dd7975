"""Values to bytes and back. Runs inside the job; NumPy is used where the user has imported it."""

from clary.artifacts.values import INLINE_LIMIT, Encoded, decode, digest, encode, preview

__all__ = ["INLINE_LIMIT", "Encoded", "decode", "digest", "encode", "preview"]
