"""Secrets are masked and control characters made visible, wherever text of the app's is shown."""

from __future__ import annotations

import dataclasses
import time

import pytest

from devserver.app.redact import MASK, Redactor, is_secret_name, visible
from devserver.events import AppFailed, AppRaised, Failure, Frame

REDACTOR = Redactor()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DEBUG", "1", "1"),
        ("API_KEY", "abc", MASK),
        ("API_KEY", "", ""),
        ("SENTRY_DSN", "https://sentry.example/1", MASK),
        ("DATABASE_URL", "postgres://bob:hunter2@db/shop", "postgres://bob:***@db/shop"),
        ("NOTE", "two\nlines\tand \x1b[31m", "two\\nlines\\tand "),
        ("ODD", "4f9c2a7be1d04c3f9a7e55aa", MASK),
        ("GREETING", "a-long-name-without-digits", "a-long-name-without-digits"),
        ("CACHE", "/var/lib/shop/cache/2024", "/var/lib/shop/cache/2024"),
    ],
)
def test_variable_is_shown_on_one_line_without_its_secrets(name: str, value: str, shown: str) -> None:
    assert REDACTOR.variable(name, value) == shown


def test_redactor_learns_of_further_variables() -> None:
    first = Redactor.of({"API_KEY": "first-secret"})
    both = first.also({"API_KEY": "second-secret", "OTHER": "ordinary-value"})
    assert both.text("first-secret second-secret ordinary-value") == "*** *** ordinary-value"
    assert first.text("second-secret") == "second-secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('password="hunter2"', 'password="***"'),
        ("{'api_key': 'abc', 'user': 'bob'}", "{'api_key': '***', 'user': 'bob'}"),
        ('{"token": "abc"}', '{"token": "***"}'),
        (r'"{\"token\": \"abc\", \"a\": \"b\"}"', r'"{\"token\": \"***\", \"a\": \"b\"}"'),
        ("User(name='bob', password='hunter2')", "User(name='bob', password='***')"),
        (
            "[(b'authorization', b'Bearer abc'), (b'accept', b'*/*')]",
            "[(b'authorization', b'***'), (b'accept', b'*/*')]",
        ),
        ("detail: \"password='hunter2'\"", "detail: \"password='***'\""),
        ("password=hunter2 host=db", "password=*** host=db"),
        ("GET /items?page=2&token=abc", "GET /items?page=2&token=***"),
        ("Authorization: Digest username=bob, response=abc", "Authorization: ***"),
        ("cookie: a=1; b=2\naccept: x", "cookie: ***\naccept: x"),
        ("x-api-key: abc", "x-api-key: ***"),
        ("wrong password: hunter2", "wrong password: ***"),
        ("secret_key=None", "secret_key=None"),
        ("ValueError: password=hunter2", "ValueError: password=***"),
        ("invalid token: unexpected end", "invalid token: unexpected end"),
        ("PasswordTooShort: must have 8 characters", "PasswordTooShort: must have 8 characters"),
        ("KeyError: 'name'", "KeyError: 'name'"),
        ("KeyError: 'password'", "KeyError: 'password'"),
        ("token == 3", "token == 3"),
        ("postgresql://bob:hunter2@db:5432/shop", "postgresql://bob:***@db:5432/shop"),
        ("redis://:p@ss@db/0", "redis://:***@db/0"),
        ("https://0123456789abcdef0123456789abcdef@sentry.example/1", "https://***@sentry.example/1"),
        ("http://127.0.0.1:8000/a@b", "http://127.0.0.1:8000/a@b"),
        ("key sk-abcdefghijklmnopqrstuv is wrong", "key *** is wrong"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is expired", "*** is expired"),
        ("Bearer abc123def456 was refused", "Bearer *** was refused"),
        ("Basic authentication is required", "Basic authentication is required"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIE\nabcd\n-----END PRIVATE KEY-----\nafter",
            "-----BEGIN PRIVATE KEY-----***\n\n\n-----END PRIVATE KEY-----\nafter",
        ),
        (
            "1 validation error for Settings\napi_key\n  String too short [type=x, input_value='abc', input_type=str]",
            "1 validation error for Settings\napi_key\n  String too short [type=x, input_value=***, input_type=str]",
        ),
        (
            "1 validation error for Item\nname\n  String too short [type=x, input_value='abc', input_type=str]",
            "1 validation error for Item\nname\n  String too short [type=x, input_value='abc', input_type=str]",
        ),
        (
            "[{'type': 'x', 'loc': ('body', 'password'), 'msg': 'm', 'input': 'abc', 'ctx': {'n': 8}}]",
            "[{'type': 'x', 'loc': ('body', 'password'), 'msg': 'm', 'input': ***, 'ctx': {'n': 8}}]",
        ),
        (
            "[{'type': 'x', 'loc': ('body', 'name'), 'msg': 'm', 'input': 'abc'}]",
            "[{'type': 'x', 'loc': ('body', 'name'), 'msg': 'm', 'input': 'abc'}]",
        ),
    ],
)
def test_message_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert REDACTOR.text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('PASSWORD = "hunter2"', 'PASSWORD = "***"'),
        ('password: str = "hunter2"', 'password: str = "***"'),
        ('password: SecretStr = SecretStr("hunter2")', 'password: SecretStr = SecretStr("***")'),
        ('password: str = Field(default="hunter2")', 'password: str = Field(default="***")'),
        ('os.environ["API_KEY"] = "abc"', 'os.environ["API_KEY"] = "***"'),
        ('os.environ.setdefault("API_KEY", "abc")', 'os.environ.setdefault("API_KEY", "***")'),
        ('if token == "abc":', 'if token == "***":'),
        ('PASSWORD = (\n    "hunter2"\n)', 'PASSWORD = (\n    "***"\n)'),
        ("SECRET = '''one\ntwo\nthree'''", "SECRET = '''***\n\n'''"),
        ('password = ""', 'password = ""'),
        ("password = form.password", "password = form.password"),
        ('token = request.headers["x-token"]', 'token = request.headers["x-token"]'),
        ("login(user, password=password)", "login(user, password=password)"),
        ('connect("host=db password=hunter2")', 'connect("host=db password=***")'),
        ('connect(f"password={password}")', 'connect(f"password={password}")'),
        ('connect(token, "plain")', 'connect(token, "plain")'),
        ('get("/x?token=" + token, "plain")', 'get("/x?token=" + token, "plain")'),
        ('# password = "hunter2"', '# password = "***"'),
        ('"""password=hunter2', '"""password=***'),
        ('primary_key = "id"', 'primary_key = "id"'),
        ("create_engine('mysql://root:root@db/x')", "create_engine('mysql://root:***@db/x')"),
    ],
)
def test_source_line_is_shown_without_its_secret_literals(text: str, shown: str) -> None:
    assert REDACTOR.source(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "SECRET",
        "API_KEY",
        "apiKey",
        "dbPassword",
        "x-auth-token",
        "DB_PASS",
        "SENTRY_DSN",
        "STRIPE_KEY",
        "settings.secret",
        "sessionid",
    ],
)
def test_name_of_a_secret_is_recognised(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "KeyError",
        "sort_key",
        "PRIMARY_KEY",
        "max_tokens",
        "token_type",
        "PWD",
        "author",
        "monkey",
        "secrets.choice",
        "",
        "9",
    ],
)
def test_name_of_something_else_is_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x00b\x07\r", "a\\x00b\\x07\\x0d"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("gr\u00fcn \u2713", "gr\u00fcn \u2713"),
    ],
)
def test_control_characters_never_come_through(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_secret_of_the_environment_is_masked_wherever_it_stands() -> None:
    redactor = Redactor.of(
        {
            "DB_PASSWORD": "correct horse",
            "DATABASE_URL": "postgres://bob:batterystaple@db/x",
            "PWD": "/home/bob/project",
            "SHORT_TOKEN": "abc",
            "SIGNING_KEY": "first line\nsecond line",
        }
    )
    assert redactor.text("tried correct horse at /home/bob/project, abc") == f"tried {MASK} at /home/bob/project, abc"
    assert (
        redactor.text("login batterystaple failed, batterystaples did not")
        == f"login {MASK} failed, batterystaples did not"
    )
    assert redactor.source("x = 'first line\nsecond line'") == f"x = '{MASK}\n'"


def test_traceback_uses_the_rules_of_source_for_source_lines_only() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/app/main.py", line 3, in login\n'
        "    token = check(form.token)\n"
        "            ^^^^^^^^^^^^^^^^^\n"
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/app/main.py", line 9, in check\n'
        '  |     raise ValueError("token=" + token)\n'
        "  | ValueError: token=abc\n"
        "ValueError: token=abc"
    )
    assert REDACTOR.traceback(text) == text.replace("token=abc", f"token={MASK}")


def test_failure_is_redacted_in_every_part() -> None:
    frame = Frame(
        path="/app/\x1b[2Jmain.py",
        line=3,
        function="f\x07",
        source='PASSWORD = "hunter2"',
        first_party=True,
        context=((2, "KEY = '''"), (3, 'PASSWORD = "hunter2"\x0c'), (4, "end")),
    )
    failure = Failure(
        kind="Err\x1b[1mor",
        message="password=hunter2",
        frames=(frame,),
        cause=Failure(kind="Cause", message="token=abc", frames=()),
        during="GET /x?token=abc",
        traceback="ValueError: password=hunter2",
    )
    shown = REDACTOR.failure(failure)
    assert "hunter2" not in repr(shown)
    assert "abc" not in repr(shown)
    assert shown.kind == "Error"
    assert shown.frames[0].path == "/app/main.py"
    assert [number for number, _ in shown.frames[0].context] == [2, 3, 4]
    assert REDACTOR.app_raised(AppRaised(failure)) == AppRaised(shown)
    event = AppFailed(message="password=hunter2", hint="token=abc", failure=failure)
    assert REDACTOR.app_failed(event) == AppFailed(message="password=***", hint="token=***", failure=shown)
    assert REDACTOR.app_failed(dataclasses.replace(event, failure=None)).failure is None


def test_endless_message_and_chain_are_cut() -> None:
    failure = Failure(kind="E", message="x" * 100_000, frames=(), traceback="y" * 1_000_000)
    for _ in range(100):
        failure = Failure(kind="E", message="", frames=(), cause=failure)
    shown: Failure | None = REDACTOR.failure(failure)
    length = 0
    while shown is not None:
        length, shown = length + 1, shown.cause
    assert length == 33
    cut = REDACTOR.failure(Failure(kind="E", message="x" * 100_000, frames=(), traceback="y" * 1_000_000))
    assert cut.message.endswith("… (83,616 more characters)")
    assert len(cut.traceback) < 300_000


@pytest.mark.parametrize(
    "piece",
    ["a", "a=", 'a="', "a:", "://", "a.b-", "'''a=", "\\", "Bearer ", "'loc': (", "-----BEGIN PRIVATE KEY-----", "sk-"],
)
def test_hostile_text_takes_no_more_than_linear_time(piece: str) -> None:
    def cost(length: int) -> float:
        text = piece * (length // len(piece))
        start = time.process_time()
        REDACTOR.text(text)
        return time.process_time() - start

    cost(1_000)
    # Quadratic time would be 64 times as much; the constant keeps short measurements from deciding.
    assert cost(128_000) < 0.5 + 32 * cost(2_000) * 2
