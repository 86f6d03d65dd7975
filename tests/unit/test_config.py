"""Where settings come from: every source outranks those below it, and a broken source is named."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clary import config
from clary.errors import ConfigError


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting from anywhere, and an empty project folder to stand in."""
    for name in ("CLARY_STACK", "CLARY_HOME", "CLARY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setattr(config, "_configured", {})
    return project


def nothing_saved() -> str | None:
    return None


def test_each_source_outranks_those_below(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(explicit: str | None = None, flow: str | None = None, saved: str | None = None) -> tuple[str, str]:
        choice = config.choose_stack(explicit, flow, saved=lambda: saved)
        return choice.value, choice.origin

    assert chosen() == ("local", "default")
    assert chosen(saved="s") == ("s", "saved")
    (fresh / "pyproject.toml").write_text('[tool.clary]\nstack = "p"\n')
    assert chosen(saved="s") == ("p", "project")
    monkeypatch.setenv("CLARY_STACK", "e")
    assert chosen(saved="s") == ("e", "environment")
    config.configure(stack="c")
    assert chosen(saved="s") == ("c", "configure")
    assert chosen(flow="f") == ("f", "flow")
    assert chosen("x", "f") == ("x", "run")
    config.configure(stack=None)
    assert chosen() == ("e", "environment")


def test_the_saved_stack_is_asked_for_only_when_nothing_else_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_STACK", "local")

    def never() -> str | None:
        raise AssertionError

    assert config.choose_stack(saved=never).value == "local"
    assert config.choose_stack("local", saved=never).value == "local"


def test_the_nearest_project_file_counts(fresh: Path) -> None:
    (fresh / "pyproject.toml").write_text('[tool.clary]\nstack = "outer"\n')
    inner = fresh / "a" / "b"
    inner.mkdir(parents=True)
    choice = config.choose_stack(saved=nothing_saved, start=inner)
    assert (choice.value, choice.source) == ("outer", f"[tool.clary].stack in {fresh / 'pyproject.toml'}")
    (fresh / "a" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert config.choose_stack(saved=nothing_saved, start=inner).origin == "default"


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("[tool.clary\n", "config.project_file_unreadable", "Mend"),
        ('[tool.clary]\nstak = "x"\n', "config.unknown_key", "'stack'"),
        ("[tool.clary]\nzzz = 1\n", "config.unknown_key", "stack"),
        ("[tool.clary]\nstack = 3\n", "config.wrong_type", "stack ="),
        ("[tool]\nclary = 3\n", "config.wrong_type", "[tool.clary]"),
    ],
)
def test_a_broken_project_file_is_refused(fresh: Path, text: str, code: str, hint: str) -> None:
    (fresh / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        config.choose_stack(saved=nothing_saved)
    assert refused.value.code == code
    assert hint in refused.value.next_step
    assert str(fresh) in refused.value.summary


def test_home_is_made_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "deep" / "home"))
    assert config.home() == tmp_path / "deep" / "home"
    assert stat.S_IMODE(config.home().stat().st_mode) == 0o700
    monkeypatch.delenv("CLARY_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.home() == tmp_path / ".clary"


def test_a_home_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError) as refused:
        config.home()
    assert refused.value.code == "config.home_unusable"


@pytest.mark.parametrize(("value", "wanted"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_debug_is_read_from_the_environment(value: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("CLARY_DEBUG", value)
    assert config.debug() is wanted
