"""The package indexes that uv would ask, and whom they let in: every place that uv reads, and no other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from clary.images.packages import documents, requirement_files, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.images.packages.sources import Source

Login = tuple[str, str]
"""A name and a password."""
_LISTS = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_SINGLE = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_TOKENS = "__token__"
"""Source: uv's documentation of ``uv auth``; a token is kept under this name."""


@dataclass(frozen=True)
class Index:
    """An index or a flat folder of files."""

    url: str
    """Without name and password."""
    name: str | None = None
    login: Login | None = field(default=None, repr=False)

    @property
    def realm(self) -> tuple[str, str]:
        """Scheme and host with port: what a login is for."""
        return realm(self.url)


class Credentials:
    """Finds the login for a URL, in uv's order: the index's own, netrc, ``uv auth``, and last the keyring.

    Source: uv's documentation, "Authentication" and "Package indexes". Safe from any thread; nothing is kept on disk.
    """

    def __init__(self, named: list[Index], environment: Mapping[str, str]) -> None:
        self._named = named
        self._environment = environment

    def known(self, url: str) -> Login | None:
        """Return the login that is sent at once: of the index that the URL belongs to, or of netrc."""
        index = self._index(url)
        own = index.login if index else None
        if own and own[1]:
            return own
        kept = self._netrc(urlsplit(url).hostname or "")
        return kept if kept and (own is None or own[0] == kept[0]) else own

    def asked(self, url: str) -> Login | None:
        """Return the login that other programs keep, for a host that has refused: these are asked in a process each."""
        index = self._index(url)
        service = index.url if index else urlunsplit((*urlsplit(url)[:2], "", "", ""))
        user = index.login[0] if index and index.login else None
        return self._uv_auth(service, user) or self._keyring(service, user)

    def _index(self, url: str) -> Index | None:
        same = [one for one in self._named if one.realm == realm(url)]
        same.sort(key=lambda one: (one.login is not None, url.startswith(one.url), len(one.url)))
        return same[-1] if same else None

    def _netrc(self, host: str) -> Login | None:
        import netrc

        file = self._environment.get("NETRC") or str(Path(self._environment.get("HOME") or Path.home()) / ".netrc")
        try:
            found = netrc.netrc(file).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            return None
        return (found[0], found[2] or "") if found else None

    def _uv_auth(self, service: str, user: str | None) -> Login | None:
        from uv import find_uv_bin

        said = self._output([find_uv_bin(), "auth", "token", service, *(("--username", user) if user else ())])
        return (user or _TOKENS, said) if said else None

    def _keyring(self, service: str, user: str | None) -> Login | None:
        if self._environment.get("UV_KEYRING_PROVIDER") != "subprocess":
            return None
        for asked in (service, urlsplit(service).netloc):
            if user and (said := self._output(["keyring", "get", asked, user])):
                return user, said
            if not user and (said := self._output(["keyring", "--mode", "creds", "get", asked])) and "\n" in said:
                name, _, password = said.partition("\n")
                return name, password
        return None

    def _output(self, command: list[str]) -> str:
        try:
            done = subprocess.run(
                command,
                env=dict(self._environment),
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""


def realm(url: str) -> tuple[str, str]:
    """Return scheme and host with port of a URL."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return parts.scheme, f"{parts.hostname}:{port}"


def split_login(url: str) -> tuple[str, Login | None]:
    """Return a URL without the name and password in it, and these."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, host, *parts[2:]))
    return bare, (unquote(parts.username or ""), unquote(parts.password or ""))


def named(source: Source | None, environment: Mapping[str, str]) -> list[Index]:
    """Return the indexes that the environment, the project's and the person's settings of uv, and the source name.

    Raises ConfigError ``image.bad_toml``.
    """
    found = [_index(*one, environment) for one in _said(source, environment)]
    return [one for one in found if "://" in one.url]


def settings_files(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """Return the files that uv may take settings from when it runs in a folder. Source: its "Configuration files"."""
    if environment.get("UV_NO_CONFIG"):
        return []
    if own := environment.get("UV_CONFIG_FILE"):
        return [Path(own)]
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config")
    shared = [Path(one) for one in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if one]
    above = [place / name for place in (folder, *folder.parents) for name in ("uv.toml", "pyproject.toml")]
    places = [*above, home / "uv" / "uv.toml", *(one / "uv" / "uv.toml" for one in shared), Path("/etc/uv/uv.toml")]
    return [file for file in places if file.is_file()]


def _said(source: Source | None, environment: Mapping[str, str]) -> Iterator[tuple[str | None, str]]:
    """Yield the name, where there is one, and the URL of every index."""
    for variable in (*_SINGLE, *_LISTS):
        value = environment.get(variable, "")
        for one in value.split() if variable in _LISTS[:2] else value.replace(",", " ").split():
            name, mark, url = one.partition("=")
            yield (name, url) if mark and re.fullmatch(r"[\w.-]+", name) else (None, one)
    if source is None:
        return
    for file in settings_files(source.folder, environment):
        settings = documents.toml(file)
        yield from _of_table(settings if file.name == "uv.toml" else documents.table(settings, "tool", "uv"))
    if source.file is not None and source.kind is sources.Kind.REQUIREMENTS:
        for url in requirement_files.read(source.file).indexes:
            yield None, re.sub(r"\$\{(\w+)\}", lambda one: environment.get(one[1], ""), url)
    if source.file is not None and source.kind is sources.Kind.SCRIPT:
        yield from _of_table(documents.table(documents.script_header(source.file), "tool", "uv"))


def _of_table(uv: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    for one in uv.get("index", ()):
        if isinstance(one, dict) and "url" in one:
            yield one.get("name"), str(one["url"])
    for settings in (uv, documents.table(uv, "pip")):
        for key in ("index-url", "extra-index-url", "find-links"):
            value = settings.get(key)
            for url in [value] if isinstance(value, str) else documents.strings(value):
                yield None, url


def login_variables(name: str) -> tuple[str, str]:
    """Return the variables by which uv is told the user and the password for an index of that name."""
    prefix = f"UV_INDEX_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
    return f"{prefix}_USERNAME", f"{prefix}_PASSWORD"


def _index(name: str | None, url: str, environment: Mapping[str, str]) -> Index:
    bare, login = split_login(url)
    if name is not None:
        user, password = map(environment.get, login_variables(name))
        if user is not None or password is not None:
            login = (user or "", password or "")
    return Index(bare, name, login)
