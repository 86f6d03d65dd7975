from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from clary.images.packages import connections, indexes, sources

if TYPE_CHECKING:
    from pathlib import Path

    from clary.images.packages.indexes import Login


def _known(url: str, environment: dict[str, str], source: sources.Source | None = None) -> Login | None:
    return indexes.Credentials(indexes.named(source, environment), environment).known(url)


@pytest.mark.parametrize(
    "environment",
    [
        {"UV_DEFAULT_INDEX": "https://me:s%2Fcret@host/simple"},
        {"UV_INDEX_URL": "https://me:s%2Fcret@host/simple"},
        {"UV_INDEX": "https://other/simple work=https://me:s%2Fcret@host/simple"},
        {"UV_EXTRA_INDEX_URL": "https://other/simple https://me:s%2Fcret@host/simple"},
        {"UV_FIND_LINKS": "./flat,https://me:s%2Fcret@host/flat"},
        {
            "UV_INDEX": "my-work.2=https://host/simple",
            "UV_INDEX_MY_WORK_2_USERNAME": "me",
            "UV_INDEX_MY_WORK_2_PASSWORD": "s/cret",
        },
    ],
)
def test_the_login_of_an_index_is_that_of_its_files(tmp_path: Path, environment: dict[str, str]) -> None:
    environment |= {"HOME": str(tmp_path)}

    assert _known("https://host/files/x.whl", environment) == ("me", "s/cret")
    assert _known("https://host:8443/files/x.whl", environment) is None
    assert _known("http://host/files/x.whl", environment) is None
    assert _known("https://other/files/x.whl", environment) is None


def test_a_project_names_indexes(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["a"]\n[[tool.uv.index]]\nname = "work"\nurl = "https://host/simple"\n'
    )
    environment = {"HOME": str(tmp_path), "UV_INDEX_WORK_USERNAME": "me", "UV_INDEX_WORK_PASSWORD": "secret"}

    assert _known("https://host/x.whl", environment, sources.find(tmp_path)) == ("me", "secret")


def test_settings_of_uv_name_indexes(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    project.mkdir()
    (tmp_path / ".config" / "uv" / "uv.toml").write_text('extra-index-url = ["https://me:mine@host/simple"]\n')
    (project / "uv.toml").write_text('[pip]\nindex-url = "https://you:yours@other/simple"\n')
    source = sources.read(["a"], project)

    assert _known("https://host/x.whl", {"HOME": str(tmp_path)}, source) == ("me", "mine")
    assert _known("https://other/x.whl", {"HOME": str(tmp_path)}, source) == ("you", "yours")
    assert _known("https://host/x.whl", {"HOME": str(tmp_path), "UV_NO_CONFIG": "1"}, source) is None


def test_a_requirements_file_names_indexes_with_variables_in_them(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("--index-url https://me:${TOKEN}@host/simple\na\n")

    login = _known("https://host/x.whl", {"HOME": str(tmp_path), "TOKEN": "secret"}, sources.find(tmp_path))

    assert login == ("me", "secret")


def test_a_script_names_indexes(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(
        '# /// script\n# dependencies = ["a"]\n# [[tool.uv.index]]\n# url = "https://me:secret@host/simple"\n# ///\n'
    )

    assert _known("https://host/x.whl", {"HOME": str(tmp_path)}, sources.read("s.py", tmp_path)) == ("me", "secret")


def test_netrc_is_read_where_no_index_has_a_login(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine host login me password secret\n")
    (tmp_path / "other").write_text("machine host login you password other\n")

    assert _known("https://host/x.whl", {"HOME": str(tmp_path)}) == ("me", "secret")
    assert _known("https://host/x.whl", {"HOME": str(tmp_path), "NETRC": str(tmp_path / "other")}) == ("you", "other")
    assert _known("https://host/x.whl", {"HOME": str(tmp_path), "UV_INDEX": "https://a:b@host/s"}) == ("a", "b")
    assert _known("https://host/x.whl", {"HOME": str(tmp_path), "UV_INDEX": "https://me@host/s"}) == ("me", "secret")
    assert _known("https://host/x.whl", {"HOME": str(tmp_path), "UV_INDEX": "https://you@host/s"}) == ("you", "")
    assert _known("https://else/x.whl", {"HOME": str(tmp_path)}) is None


def test_a_keyring_is_asked_only_where_uv_would_ask_it(tmp_path: Path) -> None:
    program = tmp_path / "keyring"
    program.write_text('#!/bin/sh\n[ "$*" = "get https://host/simple me" ] && echo secret\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "UV_INDEX": "https://me@host/simple"}

    def asked(more: dict[str, str]) -> Login | None:
        both = environment | more
        return indexes.Credentials(indexes.named(None, both), both).asked("https://host/files/x.whl")

    assert asked({}) is None
    assert asked({"UV_KEYRING_PROVIDER": "subprocess"}) == ("me", "secret")


def test_a_login_is_not_in_the_words_of_an_index() -> None:
    (index,) = indexes.named(None, {"UV_DEFAULT_INDEX": "https://me:secret@host/simple"})

    assert "secret" not in repr(index)


@pytest.mark.parametrize(
    ("no_proxy", "spared"),
    [
        *(("", False), ("*", True), ("host.example", True), (".example", True), ("*.example", True)),
        *(("host.example:8443", True), ("ost.example", False), ("a, HOST.example", True)),
    ],
)
def test_no_proxy_spares_hosts(no_proxy: str, spared: bool) -> None:
    assert connections._spared("host.example", "host.example:8443", no_proxy) is spared
