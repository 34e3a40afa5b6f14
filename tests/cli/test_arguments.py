"""The words of ``dev run``."""

from __future__ import annotations

import pytest
from uvicorn.main import main as uvicorn_command

from devserver.cli.arguments import read
from devserver.errors import EXIT_USAGE, UsageError

VALUES = {"port": "1", "lifespan": "on", "interface": "asgi3", "log_level": "debug", "headers": "a:b"}


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(words)
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value.message


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {}),
        (["main:app"], {"app": "main:app"}),
        (["main:app", "--port", "1"], {"app": "main:app", "port": "1"}),
        (["--port", "1", "main:app"], {"app": "main:app", "port": "1"}),
        (["--port=1"], {"port": "1"}),
        (["--port=1", "--port", "2"], {"port": "2"}),
        (["--root-path="], {"root_path": ""}),
        (["--root-path", ""], {"root_path": ""}),
        (["--reload"], {"reload": True}),
        (["--no-reload", "--no-reload"], {"reload": False}),
        (["-b", ":1", "-b:2", "--bind", ":3"], {"bind": [":1", ":2", ":3"]}),
        (["-e", "a:b"], {"entrypoint": "a:b"}),
        (["--header", "A: --b"], {"headers": ["A: --b"]}),
        (["--access-log-file", "-"], {"access_log_file": "-"}),
        (["--port", "-1"], {"port": "-1"}),
        (["--root-path", "--api"], {"root_path": "--api"}),
        (["--ws-per-message-deflate", "false"], {"ws_per_message_deflate": "false"}),
        (["--factory", "--", "--odd"], {"factory": True, "app": "--odd"}),
        (["make(a='--port')"], {"app": "make(a='--port')"}),
    ],
)
def test_words_become_options(words: list[str], found: dict[str, object]) -> None:
    assert read(words) == found


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prot", "1"], "No such option --prot; did you mean --port?"),
        (["--prot=1"], "No such option --prot; did you mean --port?"),
        (["--no-reloads"], "No such option --no-reloads; did you mean --no-reload?"),
        (["--qqqqqqqqq"], "No such option --qqqqqqqqq."),
        (["-z"], "No such option -z."),
        (["--callback-notify", "x"], "No such option --callback-notify."),
        (["--port"], "--port needs a value."),
        (["--host", "--port", "1"], "--host needs a value; --port is another option."),
        (["--reload=on"], "--reload takes no value."),
        (["--reload", "--no-reload"], "--reload and --no-reload contradict each other."),
        (["a", "b"], "dev run takes one app: a and b are two."),
        (["--preload"], "--preload is an option of dev prod, not of dev run."),
        (["--daemon"], "--daemon is an option of gunicorn: dev prod understands it, dev run does not."),
        (["-k", "x"], "-k is an option of gunicorn: dev prod understands it, dev run does not."),
    ],
)
def test_wrong_words_get_one_sentence(words: list[str], sentence: str) -> None:
    assert refused(*words) == sentence


def test_e_names_the_app_or_a_variable_whatever_the_command() -> None:
    assert read(["-e", "shop:app"], "prod") == {"entrypoint": "shop:app"}
    assert read(["-eshop:make(debug=True)"], "prod") == {"entrypoint": "shop:make(debug=True)"}
    assert read(["-e", "A=b:c", "-e", "B="], "prod") == {"env": ["A=b:c", "B="]}
    with pytest.raises(UsageError, match=r"^-e shop is no variable\.$") as caught:
        read(["-e", "shop"], "prod")
    assert caught.value.hint == "Write -e NAME=VALUE, or --entrypoint module:attribute for the app."
    with pytest.raises(UsageError, match=r"^-e DEBUG=1 names no app: in dev run, -e is --entrypoint\.$"):
        read(["-e", "DEBUG=1"])


def test_p_is_no_port() -> None:
    assert read(["-p", "a.pid"], "prod") == {"pid": "a.pid"}
    for words, command in ((["-p", "8000"], "run"), (["-p", "8000"], "prod"), (["-p8000"], "prod")):
        with pytest.raises(UsageError, match="pid") as caught:
            read(words, command)
        assert "--port" in caught.value.hint


def test_every_option_of_uvicorn_is_taken_by_its_name() -> None:
    for theirs in uvicorn_command.params:
        if theirs.param_type_name != "option" or theirs.name == "version":
            continue
        is_flag = bool(getattr(theirs, "is_flag", False))
        for spelling in (*theirs.opts, *theirs.secondary_opts):
            words = [spelling] if is_flag else [spelling, VALUES.get(str(theirs.name), "1")]
            assert list(read(["main:app", *words])) == ["app", theirs.name], spelling


def test_options_of_other_commands_are_not_ours() -> None:
    with pytest.raises(UsageError, match=r"^--preload is an option of dev prod, not of dev run\.$"):
        read(["--preload"])
    with pytest.raises(UsageError, match=r"^--reload-dir is an option of dev run, not of dev prod\.$"):
        read(["--reload-dir", "x"], "prod")
    assert read(["main:app", "--preload", "-w", "3"], "prod") == {"app": "main:app", "preload": True, "workers": "3"}
