"""What ``dev env`` shows of env files, and what it finds wrong in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devserver.cli.main import invoke


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "FASTAPI_ENV"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(
        "HOST=db\nURL=postgres://ada:hunter2@${HOST}/shop\nAPI_KEY=hunter2-hunter2\nNOTE=with hunter2-hunter2\n"
    )
    (tmp_path / ".env.local").write_text("HOST=local\n")
    return tmp_path


def out(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert invoke(["env", *words]) == code
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    return shown


def test_table_tells_value_source_and_what_is_shadowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTE", "real")
    assert out(capsys) == (
        "variable     value                          from             shadows\n"
        "API_KEY      ***                            .env:3\n"
        "FASTAPI_ENV  development                    dev run\n"
        "HOST         local                          .env.local:1     .env:1\n"
        "NOTE         real                           the environment  .env:4\n"
        "URL          postgres://ada:***@local/shop  .env:2\n"
    )


def test_secret_is_masked_where_another_variable_holds_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "with ***" in out(capsys)


def test_json_has_the_same(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / ".env.local").write_text("HOST=local\nODD\n")
    shown = json.loads(out(capsys, "--json"))
    assert shown["files"] == [".env", ".env.local"]
    assert shown["variables"]["HOST"] == {"value": "local", "source": ".env.local:1", "shadows": [".env:1"]}
    assert shown["variables"]["API_KEY"]["value"] == "***"
    assert [(each["file"], each["line"], each["level"]) for each in shown["findings"]] == [(".env.local", 2, "warning")]


def test_what_is_wrong_stands_on_stderr(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / ".env.local").write_text("ODD\n")
    assert invoke(["env"]) == 0
    assert capsys.readouterr().err.startswith("warning: .env.local:1: ODD has no value")
    assert invoke(["env", "why", "HOST"]) == 0
    assert capsys.readouterr().err == ""
    assert invoke(["env", "why", "ODD"]) == 1
    assert capsys.readouterr().err.startswith("warning: .env.local:1: ODD has no value")


def test_prod_reads_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        out(capsys, "--prod") == "There is no env file; dev prod reads those alone that --env-file or --mode names.\n"
    )
    assert "local" in out(capsys, "--prod", "--mode", "production")
    assert ".env:1" in out(capsys, "--prod", "--env-file", ".env")


def test_folder_and_mode_can_be_chosen(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "inner").mkdir()
    assert "There is no env file; dev run reads .env, .env.development, .env.local" in out(capsys, "--chdir", "inner")
    assert ".env.local" not in out(capsys, "--mode", "test")


def test_why_tells_every_layer_and_which_wins(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert out(capsys, "why", "HOST") == (
        "HOST comes from .env.local:1.\n\n"
        "  .env.local:1  local  wins: .env.local is stronger than .env\n"
        "  .env:1        db     shadowed by .env.local:1\n"
    )
    assert "wins: nothing else sets it" in out(capsys, "why", "URL")
    (folder / "x.env").write_text("HOST=1\nHOST=2")
    shown = out(capsys, "why", "HOST", "--env-file", "x.env")
    assert "x.env:2       2      wins: the last line of a file does" in shown
    (folder / "x.env").write_text("HOST=1")
    assert "wins: a file that is named with --env-file is stronger" in out(capsys, "why", "HOST", "--env-file", "x.env")
    monkeypatch.setenv("HOST", "real")
    assert "the environment  real   wins: the environment is stronger than every file" in out(capsys, "why", "HOST")
    layers = json.loads(out(capsys, "why", "HOST", "--json"))["layers"]
    assert [(layer["source"], layer["wins"]) for layer in layers] == [
        ("the environment", True),
        (".env.local:1", False),
        (".env:1", False),
    ]
    assert "dev run" in out(capsys, "why", "FASTAPI_ENV")


def test_why_of_an_unknown_name_says_where_it_was_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "why", "HOSTT", code=1) == (
        "HOSTT is not set. Looked at: the environment, .env, .env.local. Did you mean HOST?\n"
    )


def test_check_finds_what_differs_from_the_example(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / ".env.example").write_text("HOST=\nURL=\nAPI_KEY=changeme\n\nMISSING=\nBARE\nEMPTY=\nTODO=\n")
    (folder / ".env.local").write_text("EMPTY=\nTODO=change-me\nODD: x\nBARE=1\n")
    assert out(capsys, "check", code=1) == (
        ".env.example:5: MISSING is missing; put it in .env.\n"
        ".env.local:1: EMPTY is empty; give it a value.\n"
        ".env.local:2: the value of TODO is a placeholder; replace it.\n"
        ".env:4: NOTE is not in .env.example; add it there, or delete it here.\n"
        ".env.local:3: this cannot be read as NAME=VALUE and is left out.\n"
    )
    kinds = [(each["problem"], each["name"]) for each in json.loads(out(capsys, "check", "--json", code=1))]
    assert kinds == [
        ("missing", "MISSING"),
        ("empty", "EMPTY"),
        ("placeholder", "TODO"),
        ("extra", "NOTE"),
        ("wrong", ""),
    ]


def test_check_is_content_when_everything_is_there(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sample.env").write_text("HOST=\nURL=\nAPI_KEY=\nNOTE=\nREAL=")
    monkeypatch.setenv("REAL", "1")
    assert out(capsys, "check", "--example", "sample.env") == "All 5 variables of sample.env are set.\n"


@pytest.mark.parametrize(
    "value",
    [
        "changeme",
        "CHANGE_ME",
        "<your key>",
        "your-key",
        "xxxx",
        "TODO",
        "...",
        "replace_me",
        "put your key",
        "key-here",
    ],
)
def test_placeholders_are_known(capsys: pytest.CaptureFixture[str], folder: Path, value: str) -> None:
    (folder / ".env.example").write_text("HOST=\nURL=\nAPI_KEY=\nNOTE=")
    (folder / ".env.local").write_text(f"NOTE='{value}'")
    assert "placeholder" in out(capsys, "check", code=1)


@pytest.mark.parametrize("value", ["hereafter", "there", "exchange me", "true", "*", "x"])
def test_ordinary_values_are_no_placeholders(capsys: pytest.CaptureFixture[str], folder: Path, value: str) -> None:
    (folder / ".env.example").write_text("HOST=\nURL=\nAPI_KEY=\nNOTE=")
    (folder / ".env.local").write_text(f"NOTE='{value}'")
    out(capsys, "check")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check"], "error: The env file .env.example does not exist.\n\nhint: Write one"),
        (["shwo"], "error: dev env shwo is no command.\n\nhint: Write dev env, dev env why KEY, or dev env check.\n"),
        (["why"], "error: dev env why takes the name of a variable"),
        (["check", "KEY"], "error: dev env why takes the name of a variable"),
        (["--env-file", "no"], "error: The env file no does not exist.\n"),
    ],
)
def test_mistake_is_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["env", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(said)
