"""What is said, told as scripts of events and the plain lines that they become."""

from __future__ import annotations

import dataclasses

import pytest

from devserver.errors import AppLoadError, BindError
from devserver.events import (
    AppFailed,
    AppRaised,
    EnvironmentChanged,
    Failure,
    FilesChanged,
    Frame,
    Notice,
    Reloaded,
    RequestSeen,
    RequestsSeen,
    ServerReady,
    ServerStarting,
    ServerStopping,
    WorkerDied,
)
from devserver.ui.narrator import Narrator, duration
from devserver.ui.plain import PlainText

READY = ServerReady(1, ("http://127.0.0.1:8000",), "main:app", 0.212)


def narrator(**options: object) -> Narrator:
    return Narrator("devserver 1.0", directory="/home/ada/shop", **options)  # type: ignore[arg-type]


def told(events: list[object], teller: Narrator | None = None) -> str:
    teller = teller or narrator()
    return "".join(PlainText(ascii=False).render(teller.tell(event)) for event in events)


def frames(*paths: str) -> tuple[Frame, ...]:
    return tuple(
        Frame(path, line, f"f{line}", f"call({line})", path.startswith("/home/ada/shop"))
        for line, path in enumerate(paths, start=1)
    )


OURS, THEIRS = "/home/ada/shop/app/items.py", "/usr/lib/starlette/routing.py"


def test_banner_names_the_env_files_that_were_read() -> None:
    lines = told([READY], narrator(env_files=(".env", ".env.local"))).splitlines()
    assert "    Env      .env, .env.local" in lines


def test_slow_request_is_marked_in_words() -> None:
    seen = RequestSeen(0.0, "GET", "/items", 200, 0.25, "items", "app.py:3")
    quick, slow = (told([RequestsSeen((seen,))], narrator(slow_s=limit_s)) for limit_s in (0.5, 0.2))
    assert quick.rstrip().endswith("200   250 ms  app.py:3 items")
    assert slow.rstrip().endswith("200   250 ms slow  app.py:3 items")


def test_banner_tells_where_what_and_how() -> None:
    event = dataclasses.replace(READY, docs_path="/docs", found="main.py in this folder", mode="cold")
    assert told([event]) == (
        "\n"
        "  devserver 1.0  ready in 212 ms\n"
        "\n"
        "  ➜ Local    http://127.0.0.1:8000\n"
        "  ➜ Docs     http://127.0.0.1:8000/docs\n"
        "    App      main:app  main.py in this folder\n"
        "    Reload   cold  each save starts a fresh process\n"
        "\n"
    )


def test_banner_without_reload_says_so() -> None:
    assert "    Reload   off\n" in told([READY])


def test_banner_comes_once() -> None:
    assert told([READY, READY]) == told([READY])


@pytest.mark.parametrize(
    ("url", "rows"),
    [
        ("http://0.0.0.0:80", ["Local    http://127.0.0.1:80", "Network  http://10.0.0.5:80"]),
        ("https://[::]:8443", ["Local    https://[::1]:8443", "Network  https://[fd00::5]:8443"]),
        ("http://10.0.0.5:8000", ["Network  http://10.0.0.5:8000"]),
        ("http://localhost:8000", ["Local    http://localhost:8000"]),
        ("unix:/run/app.sock", ["Socket   unix:/run/app.sock"]),
    ],
)
def test_banner_lists_the_addresses_that_work(url: str, rows: list[str]) -> None:
    teller = narrator(addresses=lambda: ["10.0.0.5", "fd00::5"])
    lines = told([dataclasses.replace(READY, urls=(url,))], teller).splitlines()
    assert [line[4:] for line in lines if line.startswith("  ➜")] == rows


def test_documentation_of_an_app_on_a_unix_socket_has_no_url() -> None:
    assert "Docs" not in told([dataclasses.replace(READY, urls=("unix:/x",), docs_path="/docs")])


def test_reload_is_one_line() -> None:
    events: list[object] = [
        FilesChanged(("/home/ada/shop/app/items.py",), True),
        ServerStarting(2),
        Reloaded(("/home/ada/shop/app/items.py",), 0.212, "cold"),
        Reloaded(("/home/ada/shop/a.py", "/home/ada/shop/b.py", "/etc/c"), 1.44, "cold"),
        Reloaded((), 0.0083, "cold"),
    ]
    assert told(events) == "↻ app/items.py · 212 ms\n↻ a.py and 2 more · 1.4 s\n↻ reloaded · 8.3 ms\n"


def test_skipped_save_says_why() -> None:
    assert told([FilesChanged(("/home/ada/shop/tests/test_a.py",), False, "no change")]) == (
        "· tests/test_a.py · no change\n"
    )


def test_notices_say_how_serious_they_are() -> None:
    events = [Notice(level, f"{level} text") for level in ("debug", "info", "warning", "error")]
    assert told(list(events)) == "note: info text\nwarning: warning text\nerror: error text\n"
    assert told(list(events), narrator(level=10)).startswith("debug: debug text\n")
    assert told(list(events), narrator(level=30)).startswith("warning: ")


def test_error_stands_first_and_the_hint_last() -> None:
    assert told([BindError("Port 8000 is taken.", hint="Choose another with --port.")]) == (
        "\nerror: Port 8000 is taken.\n\nhint: Choose another with --port.\n\n"
    )


def test_error_of_several_lines_stays_together() -> None:
    assert told([BindError("one\ntwo")]) == "\nerror: one\n  two\n\n"


def test_failed_request_shows_frames_of_the_user_and_folds_the_others() -> None:
    last = Frame(
        OURS,
        31,
        "get_item",
        "return 1 / 0",
        True,
        ((30, "\tdef get_item():"), (31, "\t\treturn 1 / 0"), (0, "\t\t   ^")),
    )
    failure = Failure(
        "ZeroDivisionError", "division by zero", (*frames(THEIRS, THEIRS, OURS, THEIRS), last), during="GET /items/0"
    )
    assert told([AppRaised(failure)]) == (
        "\n"
        "error: GET /items/0 raised ZeroDivisionError: division by zero\n"
        "\n"
        "  … 2 framework frames hidden\n"
        "  app/items.py:3 in f3\n"
        "      call(3)\n"
        "  … 1 framework frame hidden\n"
        "  app/items.py:31 in get_item\n"
        "      30 │ def get_item():\n"
        "    > 31 │     return 1 / 0\n"
        "         │        ^\n"
        "\n"
    )


def test_failure_far_from_the_users_code_shows_the_innermost_frames() -> None:
    lines = told([AppRaised(Failure("E", "", frames(*[THEIRS] * 5)))]).splitlines()
    assert lines[1] == "error: the app raised E"
    assert lines[3:5] == ["  … 2 framework frames hidden", f"  {THEIRS}:3 in f3"]
    assert lines[-2] == "      call(5)"


def test_cause_is_told_before_what_it_led_to() -> None:
    failure = Failure("RuntimeError", "no item", frames(OURS), cause=Failure("KeyError", "42", frames(OURS)))
    assert told([AppRaised(failure)]) == (
        "\nerror: the app raised RuntimeError: no item\n"
        "\n"
        "  KeyError: 42\n"
        "  app/items.py:1 in f1\n"
        "      call(1)\n"
        "\n"
        "  ↓ which led to\n"
        "\n"
        "  RuntimeError: no item\n"
        "  app/items.py:1 in f1\n"
        "      call(1)\n"
        "\n"
    )


def test_same_failure_again_is_one_line_until_the_code_changes() -> None:
    first = Failure("E", "m", frames(OURS), during="GET /1")
    second = dataclasses.replace(first, during="GET /2")
    teller = narrator()
    assert told([AppRaised(first), AppRaised(second)], teller).endswith("\nerror: GET /2 raised E: m (as above)\n")
    assert told([Reloaded((), 0.1, "cold"), AppRaised(first)], teller).count("app/items.py:1") == 1


def test_app_that_failed_is_told_once() -> None:
    failure = Failure("ImportError", "no shop", frames(OURS), during="import")
    event = AppFailed("Could not import main.", "Install it.", failure)
    text = told([event, AppLoadError("Could not import main.", hint="Install it.", failure=failure)])
    assert text == (
        "\nerror: Could not import main.\n"
        "\n"
        "  ImportError: no shop\n"
        "  app/items.py:1 in f1\n"
        "      call(1)\n"
        "\n"
        "hint: Install it.\n"
        "\n"
    )
    assert told([AppFailed("There is no app.", "", None)]) == "\nerror: There is no app.\n\n"


def test_dead_process_is_told_with_its_end() -> None:
    assert told([WorkerDied(7, -11)]) == "error: the app's process (7) was killed by SIGSEGV\n\n"
    assert told([WorkerDied(7, 4)]) == "error: the app's process (7) ended with exit code 4\n\n"
    assert told([WorkerDied(7, -99)]) == "error: the app's process (7) was killed by signal 99\n\n"


def test_stop_is_told_when_somebody_waits() -> None:
    assert told([ServerStopping(1, 3, 0)]) == ""
    assert told([ServerStopping(1, 3, 2)]) == "finishing 2 requests …\n"


def test_blocks_are_one_empty_line_apart() -> None:
    assert "\n\n\n" not in told([BindError("a"), BindError("b"), READY, BindError("c", hint="d")])


def test_event_that_is_nobodys_business_is_not_told() -> None:
    assert told([ServerStarting(1)]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 ms"), (0.0099, "9.9 ms"), (0.01, "10 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s")]
)
def test_duration_has_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_path_outside_the_directory_is_told_whole() -> None:
    assert told([FilesChanged(("/home/ada/shop2/a.py",), False)]) == "· /home/ada/shop2/a.py\n"
    nowhere = Narrator("x")
    assert told([FilesChanged(("/a.py",), False)], nowhere) == "· /a.py\n"


def test_edit_of_an_env_file_is_told_by_names() -> None:
    event = EnvironmentChanged((".env", ".env.local"), ("A", "B"), ("C",), ("D",), (("E", "the environment"),))
    assert told([event]) == ("· .env, .env.local · A, B added; C changed; D removed; E shadowed by the environment\n")
    assert told([EnvironmentChanged((".env",), (), (), (), ())]) == "· .env · same values\n"
