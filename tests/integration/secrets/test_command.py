"""``clary secrets`` as people and scripts use it, on the local store."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.cli import state
from clary.secrets import backup
from clary.secrets.local import LocalSecrets
from command_line import CommandLine

VALUE = "a value nobody may see"


@pytest.fixture
def secrets(
    secrets_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backup, "_COST", {"n": 2, "r": 1, "p": 1})
    return CommandLine(capsys)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody at a terminal who types these lines."""
    lines: list[str] = []
    monkeypatch.setattr(state, "interactive", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _="": lines.pop(0))
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _="": lines.pop(0))
    yield lines
    assert lines == []


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_documented_commands_run(secrets: CommandLine) -> None:
    """``set NAME --KEY=value … [--private]``, ``list``, ``show --show-values``, ``delete``."""
    made = secrets("secrets", "set", "db", f"--PASSWORD={VALUE}", "--USER=me", "--private")
    assert made.code == 0
    assert "Created secret: db" in made.out
    assert "{{secrets.db.PASSWORD}}" in made.out
    assert "--KEY=@FILE" in made.err
    assert VALUE not in made.out + made.err

    (row,) = secrets("secrets", "list", "-o", "json").json["items"]
    assert (row["name"], row["backend"]) == ("db", "local")
    assert "@" in row["private_to"]
    masked = secrets("secrets", "show", "db")
    assert "PASSWORD  ***" in masked.out
    assert VALUE not in masked.out
    assert secrets("secrets", "show", "db", "-o", "json").json["item"]["values"] == {"PASSWORD": "***", "USER": "***"}
    assert VALUE in secrets("secrets", "show", "db", "--show-values").out
    assert secrets("secrets", "delete", "db").out == "Deleted secret: db\n"
    assert secrets("secrets", "list").out.startswith("No secrets in the local store")


def test_the_other_spelling_runs_too(secrets: CommandLine, tmp_path: Path) -> None:
    """``secret create|update|get|list|rename|delete -y|export -f``."""
    assert secrets("secret", "create", "db", "-p", "-v", '{"A": "1", "B": 2}').code == 0
    assert secrets("secret", "create", "db", "-v", "A: 1", "-o", "json").error["code"] == "secret.exists"
    assert secrets("secret", "update", "db", "--A=3", "-r", "B").code == 0
    assert secrets("secret", "get", "db", "--show-values", "-o", "json").json["item"]["values"] == {"A": "3"}
    assert secrets("secret", "rename", "db", "--new_name", "data").code == 0
    assert secrets("secret", "rename", "data", "db2").out == "Renamed secret: data → db2\n"
    assert secrets("secret", "rename", "db2", "-o", "json").error["field"] == "new"
    exported = secrets("secret", "export", "db2", "-f", "out.yaml")
    assert exported.code == 0
    assert (tmp_path / "out.yaml").read_text() == "A: '3'\n"
    assert stat.S_IMODE((tmp_path / "out.yaml").stat().st_mode) == 0o600
    assert secrets("secret", "export", "db2", "-f", "out.yaml", "-o", "json").error["code"] == "secret.file_exists"
    assert secrets("secret", "export", "db2", "-f", "out.yaml", "--yes").code == 0
    assert secrets("secret", "export", "db2", "-f", "-").out == "A: '3'\n"
    assert secrets("secret", "create", "again", "-v", "@out.yaml").code == 0
    assert secrets("secret", "delete", "db2", "-y").code == 0


def test_nothing_is_shown_on_a_terminal_by_mistake(secrets: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets("secrets", "set", "db", f"--A={VALUE}")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    refused = secrets("secrets", "export", "db", "-f", "-")
    assert (refused.code, VALUE in refused.out + refused.err) == (2, False)
    assert "secret.onto_terminal" in refused.err
    assert VALUE in secrets("secrets", "export", "db", "-f", "-", "--yes").out


def test_values_come_from_files_and_pipes_without_a_warning(
    secrets: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{VALUE}\n")
    typed(monkeypatch, f"{VALUE} 2\n")
    done = secrets("secrets", "set", "db", "--A=@token", "--B=-", "-o", "json")
    assert (done.code, done.json["item"]["warnings"], done.json["item"]["keys"]) == (0, [], ["A", "B"])
    assert LocalSecrets().read("db") == {"A": VALUE, "B": f"{VALUE} 2"}


def test_a_person_is_asked_and_sees_nothing(secrets: CommandLine, person: list[str]) -> None:
    person += ["A", VALUE, "B", VALUE, ""]
    asked = secrets("secrets", "set", "db", "-i")
    assert (asked.code, VALUE in asked.out + asked.err) == (0, False)
    assert LocalSecrets().read("db") == {"A": VALUE, "B": VALUE}
    person += ["n"]
    assert secrets("secrets", "delete", "db").code == 130
    person += ["y"]
    assert secrets("secrets", "delete", "db").code == 0


def test_nobody_to_ask_is_said(secrets: CommandLine) -> None:
    assert secrets("secrets", "set", "db", "-i", "-o", "json").error["code"] == "secret.not_interactive"
    assert secrets("secrets", "backup", "-o", "json").error["code"] == "secret.not_interactive"


def test_a_backup_comes_back_elsewhere(
    secrets: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: list[str]
) -> None:
    secrets("secrets", "set", "db", f"--A={VALUE}")
    person += ["correct horse", "correct horse"]
    done = secrets("secrets", "backup", "kept", "-o", "json")
    assert done.json["item"]["names"] == ["db"]
    assert VALUE not in (tmp_path / "kept").read_text()
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
    assert "secret.file_exists" in secrets("secrets", "backup", "kept").err

    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("CLARY_SECRETS_PASSPHRASE", "correct horse")
    assert secrets("secrets", "restore", "kept", "-o", "json").json["item"]["secrets"] == {"db": "created"}
    assert LocalSecrets().read("db") == {"A": VALUE}
    secrets("secrets", "set", "db", "--A=changed")
    assert secrets("secrets", "restore", "kept", "-o", "json").error["code"] == "secret.exists"
    assert secrets("secrets", "restore", "kept", "--overwrite").code == 0
    assert secrets("secrets", "restore", "nowhere", "-o", "json").error["code"] == "secret.bad_file"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--A=hunter2"], "cli.usage"),
        (["db", "--A", "hunter2"], "secret.bad_argument"),
        (["db", "hunter2", "--A=1"], "cli.usage"),
        (["d.b", "--A=hunter2"], "secret.bad_name"),
        (["db"], "secret.no_values"),
        (["db", "--A=hunter2", "--backend", "aws"], "secret.no_aws"),
        (["db", "--A=hunter2", "--backend", "asw"], "cli.usage"),
        (["db", "--A=hunter2", "--stack", "nowhere"], "stack.not_found"),
    ],
)
def test_refusals_have_codes_and_show_no_value(secrets: CommandLine, arguments: list[str], code: str) -> None:
    refused = secrets("secrets", "set", *arguments, "-o", "json")
    assert refused.error["code"] == code
    assert "hunter2" not in refused.err


def test_a_key_that_looks_like_a_misspelt_option_is_kept_and_mentioned(secrets: CommandLine) -> None:
    done = secrets("secrets", "set", "db", "--stak=prod", "--token=x", "-o", "json")
    assert done.json["item"]["keys"] == ["stak", "token"]
    assert [text for text in done.json["item"]["warnings"] if "--stack" in text]
    assert not [text for text in done.json["item"]["warnings"] if "--token was" in text]


FLOWS = """
import os
from clary import checkpoint, flow, log

@checkpoint
def use():
    print("the token is", os.environ["TOKEN"])
    log(token=os.environ["TOKEN"])
    return len(os.environ["TOKEN"])

@flow(environment={"TOKEN": "{{ secrets.db.TOKEN }}", "PORT": 80, "HOME_SWEET": None})
def main(fail: bool = False):
    assert os.environ["PORT"] == "80"
    length = use()
    if fail:
        raise ValueError("not with", os.environ["TOKEN"])
    return length

@flow(environment={"TOKEN": "{{ secrets.db.TOKN }}"})
def wrong():
    pass

@flow(environment={"TOKEN": ["a"]})
def odd():
    pass
"""


@pytest.fixture
def project(secrets: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A project with flows that use a secret, which is there."""
    (tmp_path / "secretflows.py").write_text(FLOWS)
    LocalSecrets().edit("db", lambda _: {"TOKEN": VALUE})
    for name in ("TOKEN", "PORT"):
        monkeypatch.delenv(name, raising=False)
    return secrets


def kept(home: Path) -> str:
    """Return every byte of the local runs, as text."""
    return "".join(path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file())


def test_a_local_run_has_the_secret_and_keeps_none_of_it(project: CommandLine, secrets_home: Path) -> None:
    good = project("run", "secretflows.py:main")
    assert good.code == 0, good.err
    bad = project("run", "secretflows.py:main", "-i", "fail=true")
    assert bad.code == 1
    assert "not with" in bad.out + bad.err
    assert "the token is ***" in good.out
    assert VALUE not in good.out + good.err + bad.out + bad.err + kept(secrets_home)
    assert {"TOKEN", "PORT"}.isdisjoint(os.environ)
    resumed = project("runs", "resume", "latest")
    assert (resumed.code, VALUE in resumed.out + kept(secrets_home)) == (1, False)
    assert "{{ secrets.db.TOKEN }}" in kept(secrets_home)


@pytest.mark.parametrize(
    ("flow", "code", "said"),
    [
        ("wrong", "secret.key_not_found", "Did you mean 'TOKEN'?"),
        ("odd", "settings.invalid", "Correct environment.TOKEN."),
    ],
)
def test_a_local_run_with_a_bad_reference_is_refused_and_not_recorded(
    project: CommandLine, flow: str, code: str, said: str
) -> None:
    refused = project("run", f"secretflows.py:{flow}", "-o", "json")
    assert (refused.error["code"], refused.error["next_step"]) == (code, said)
    assert json.loads(project("runs", "list", "-o", "json").out)["count"] == 0


def test_what_was_there_before_a_run_is_put_back(project: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "as it was")
    assert project("run", "secretflows.py:main").code == 0
    assert os.environ["TOKEN"] == "as it was"
