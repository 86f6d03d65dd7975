"""Headers of tar archives, the same for the same file whoever owns it and whenever it was written. Pure.

Source: POSIX.1-2017, pax: "ustar Interchange Format" and "pax Extended Header". The extended form is used only for what
the plain one cannot say: names over its lengths, names beyond ASCII, files of 8 GiB and more, owners of high numbers.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two blocks of zeros end an archive."""
_FILE, _LINK, _FOLDER, _EXTENDED = b"0", b"2", b"5", b"x"
_NAME, _PREFIX = 100, 155
"""Bytes that a name and what stands before its last part have room for."""
_LARGEST = 8**11 - 1
"""Bytes of a file that the plain form can say."""
_LARGEST_ID = 8**7 - 1
"""The number of a user or group that the plain form can say."""
_TAIL = b"ustar\x0000".ljust(8 + 32 + 32 + 8 + 8, b"\0")
"""Mark and version; no names of owners, no device."""


def file_header(path: str, size: int, mode: int) -> bytes:
    """Return what stands before a file's bytes. ``path`` is relative, ``mode`` its permissions."""
    return _header(path, size, mode, _FILE)


def folder_header(path: str, mode: int = 0o755, user: int = 0, group: int = 0) -> bytes:
    """Return a folder's header. ``path`` is relative, without a slash at its end."""
    return _header(f"{path}/", 0, mode, _FOLDER, owner=(user, group))


def link_header(path: str, target: str) -> bytes:
    """Return the header of a symbolic link."""
    return _header(path, 0, 0o777, _LINK, target)


def padding(size: int) -> bytes:
    """Return what fills the last block of a file of so many bytes."""
    return bytes(-size % BLOCK)


def _header(path: str, size: int, mode: int, kind: bytes, target: str = "", owner: tuple[int, int] = (0, 0)) -> bytes:
    name, link = path.encode(), target.encode()
    prefix, plain = _split(name)
    extended = {}
    if plain is None:
        extended["path"] = name
        prefix, plain = b"", _ascii(name)
    if len(link) > _NAME or not link.isascii():
        extended["linkpath"] = link
    if size > _LARGEST:
        extended["size"] = str(size).encode()
    plain_owner = [0 if one > _LARGEST_ID else one for one in owner]
    extended |= {key: str(one).encode() for key, one in zip(("uid", "gid"), owner, strict=True) if one > _LARGEST_ID}
    told = 0 if "size" in extended else size
    block = _block(plain, prefix, told, mode, kind, _ascii(link), *plain_owner)
    return _extension(extended) + block if extended else block


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Return a name as prefix and rest; no rest where it does not fit."""
    if not name.isascii():
        return b"", None
    if len(name) <= _NAME:
        return b"", name
    cut = name.find(b"/", len(name) - _NAME - 1, len(name) - 1)
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= _PREFIX else (b"", None)


def _ascii(name: bytes) -> bytes:
    """Return what readers see that do not know the extended form."""
    return name.decode().encode("ascii", "replace")[:_NAME]


def _block(
    name: bytes, prefix: bytes, size: int, mode: int, kind: bytes, link: bytes, user: int = 0, group: int = 0
) -> bytes:
    owned = (name.ljust(_NAME, b"\0"), mode, user, group, size)
    head = b"%b%07o\x00%07o\x00%07o\x00%011o\x0000000000000\x00" % owned
    tail = b"%b%b%b%b" % (kind, link.ljust(_NAME, b"\0"), _TAIL, prefix.ljust(_PREFIX + 12, b"\0"))
    total = sum(head) + sum(tail) + 8 * ord(" ")
    return b"%b%06o\0 %b" % (head, total, tail)


def _extension(fields: dict[str, bytes]) -> bytes:
    data = b"".join(_record(key.encode(), value) for key, value in sorted(fields.items()))
    header = _block(b"././@PaxHeader", b"", len(data), 0o644, _EXTENDED, b"")
    return header + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """Return ``length key=value``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
