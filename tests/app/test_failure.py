"""An exception is folded into bounded, plain data, whatever it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devserver.app.asgi2 import Asgi2
from devserver.app.failure import (
    CHAIN_MAX,
    FRAMES_MAX,
    MESSAGE_BYTES_MAX,
    TRACEBACK_CHARS_MAX,
    fold,
    kind_of,
    message_of,
    place,
    sentence,
)
from devserver.app.lifespan import Lifespan
from devserver.events import AppRaised, Emitter, Failure, from_json, to_json

OWN = [__file__]


def failure_of(function: Callable[[], Any], during: str = "", own: Any = OWN) -> Failure:
    try:
        function()
    except BaseException as exc:
        return fold(exc, own, during)
    raise AssertionError("nothing was raised")


def divide() -> float:
    number = 1
    zero = 0
    return number / zero  # the line that fails


def test_frames_are_told_outermost_first() -> None:
    failure = failure_of(divide, during="GET /")
    assert (failure.kind, failure.message, failure.during) == ("ZeroDivisionError", "division by zero", "GET /")
    assert [frame.function for frame in failure.frames] == ["failure_of", "divide"]
    assert failure.frames[-1].source == "return number / zero  # the line that fails"
    assert failure.cause is None
    assert "ZeroDivisionError: division by zero" in failure.traceback
    assert "Traceback (most recent call last)" in failure.traceback


def test_context_is_the_lines_around() -> None:
    frame = failure_of(divide).frames[-1]
    assert frame.first_party
    numbers = [number for number, _ in frame.context]
    assert numbers == list(range(frame.line - 3, frame.line + 4))
    assert dict(frame.context)[frame.line] == "    return number / zero  # the line that fails"


def test_frames_of_others_have_no_context() -> None:
    frames = failure_of(lambda: json.loads("{")).frames
    other = frames[-1]
    assert (other.first_party, other.context) == (False, ())
    assert other.source


def test_frames_of_this_package_and_of_the_import_system_are_left_out(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        __import__("importlib").import_module("no_such_module_at_all")

    events: list[Any] = []
    emitter = Emitter()
    emitter.listen(events.append, [AppRaised])

    async def main() -> Failure | None:
        try:
            await Lifespan(app, mode="on", emitter=emitter, first_party=OWN).startup()
        except Exception as exc:
            return getattr(exc, "failure", None)
        return None

    failure = asyncio.run(main())
    assert failure is not None
    assert [frame.path for frame in failure.frames] == [__file__]
    assert "lifespan.py" not in failure.traceback
    assert "frozen importlib" not in failure.traceback


def test_mistake_that_surfaces_in_this_package_can_still_be_traced() -> None:
    async def main() -> None:
        not_an_app: Any = None
        await Asgi2(not_an_app)({}, main, main)  # type: ignore[arg-type]

    failure = failure_of(lambda: asyncio.run(main()))
    assert [frame for frame in failure.frames if "asgi2.py" in frame.path] == []
    assert "asgi2.py" in failure.traceback


def test_cause_is_followed() -> None:
    def work() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            raise ValueError("outer") from exc

    failure = failure_of(work)
    assert (failure.kind, failure.cause and failure.cause.kind) == ("ValueError", "ZeroDivisionError")


def test_context_is_followed_unless_suppressed() -> None:
    def work(suppress: bool) -> None:
        try:
            divide()
        except ZeroDivisionError:
            if suppress:
                raise ValueError("outer") from None
            raise ValueError("outer")  # noqa: B904 - the implicit context is what is tested

    followed = failure_of(lambda: work(suppress=False))
    assert followed.cause is not None
    assert failure_of(lambda: work(suppress=True)).cause is None


def test_chain_is_bounded() -> None:
    def work() -> None:
        last: BaseException = ValueError(0)
        for number in range(1, 20):
            following = ValueError(number)
            following.__cause__ = last
            last = following
        raise last

    failure: Failure | None = failure_of(work)
    length = 0
    while failure is not None:
        failure, length = failure.cause, length + 1
    assert length == CHAIN_MAX


def test_cyclic_chain_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    failure = fold(first, OWN)
    assert failure.cause is not None
    assert failure.cause.cause is None


def test_recursion_keeps_both_ends() -> None:
    def dive(depth: int) -> None:
        dive(depth + 1)

    failure = failure_of(lambda: dive(0))
    assert failure.kind == "RecursionError"
    assert len(failure.frames) == FRAMES_MAX
    assert failure.frames[0].function == "failure_of"
    assert len(failure.traceback) <= TRACEBACK_CHARS_MAX + 10


def test_message_is_bounded() -> None:
    failure = fold(ValueError("é" * 100_000), OWN)
    assert len(failure.message.encode()) <= MESSAGE_BYTES_MAX
    assert failure.message.endswith("…")
    assert len(failure.traceback) <= TRACEBACK_CHARS_MAX + 10


def test_message_with_lone_surrogates_can_be_written() -> None:
    failure = fold(ValueError("\ud800"), OWN)
    failure.message.encode()
    failure.traceback.encode()
    assert from_json(json.loads(json.dumps(to_json(AppRaised(failure))))) == AppRaised(failure)


def test_exception_that_cannot_be_printed_is_folded_all_the_same() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    failure = fold(Hostile(), OWN)
    assert failure.kind.endswith("Hostile")
    assert failure.message == "(this exception has no readable message)"


def test_exception_whose_attributes_fail_is_folded_all_the_same() -> None:
    class Hostile(SyntaxError):
        @property
        def lineno(self) -> int:  # type: ignore[override]
            raise RuntimeError("no")

    assert fold(Hostile("x"), OWN).kind == "Hostile"


def test_group_is_told_by_its_first_leaf() -> None:
    def work() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            inner = ExceptionGroup("inner", [exc, KeyError("k")])
            raise ExceptionGroup("outer", [inner, OSError("o")]) from None

    failure = failure_of(work)
    assert failure.kind == "ZeroDivisionError"
    assert failure.message == "division by zero (first of 3 exceptions in ExceptionGroup)"
    assert failure.frames[-1].function == "divide"
    assert failure.frames[0].function == "failure_of"
    assert "KeyError" in failure.traceback


def test_group_of_one_says_so() -> None:
    failure = fold(ExceptionGroup("x", [ValueError("v")]), OWN)
    assert failure.message == "v (the only exception in ExceptionGroup)"


def test_cause_of_a_group_is_followed() -> None:
    group = ExceptionGroup("x", [ValueError("v")])
    group.__cause__ = OSError("disk")
    failure = fold(group, OWN)
    assert failure.cause is not None
    assert failure.cause.kind == "OSError"


def test_endless_group_ends() -> None:
    group: Exception = ValueError("leaf")
    for _ in range(100):
        group = ExceptionGroup("x", [group])
    assert fold(group, OWN).kind == "ExceptionGroup"


def test_syntax_error_has_a_frame_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    text = "a = 1\nb = 2\nif x = 3:\nc = 4\n"
    path.write_text(text)
    failure = failure_of(lambda: compile(text, str(path), "exec"), own=[str(path)])
    frame = failure.frames[-1]
    assert (frame.path, frame.line, frame.first_party) == (str(path), 3, True)
    assert frame.source == "if x = 3:"
    place_of_error = [number for number, _ in frame.context].index(3)
    assert frame.context[place_of_error + 1] == (0, "   ^^^^^")
    assert failure.message.startswith("invalid syntax")


def test_carets_stand_under_tabs(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text("if 1:\n\tx = = 1\n")
    failure = failure_of(lambda: compile(path.read_text(), str(path), "exec"), own=[str(path)])
    assert (0, "\t    ^") in failure.frames[-1].context


@pytest.mark.parametrize(
    "arguments",
    [
        ("m", None),
        ("m", (None, None, None, None)),
        ("m", ("f.py", 0, 0, "")),
        ("m", ("f.py", 3, None, None)),
        ("m", ("f.py", 3, 10**9, "x")),
        ("m", ("f.py", 3, 5, "x", 3, 2)),
        ("m", ("f.py", 3, -5, "x", 9, 2)),
    ],
)
def test_syntax_errors_made_by_hand_are_folded(arguments: Any) -> None:
    exc = SyntaxError("m") if arguments[1] is None else SyntaxError(*arguments)
    failure = fold(exc, ["f.py"])
    assert (failure.kind, failure.message) == ("SyntaxError", "m")


def test_kind_is_qualified_unless_built_in() -> None:
    assert kind_of(ValueError()) == "ValueError"
    assert kind_of(json.JSONDecodeError("m", "d", 0)) == "json.decoder.JSONDecodeError"
    assert message_of(KeyError("k")) == "'k'"


def test_sentence_names_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = failure_of(lambda: json.loads("{"))
    monkeypatch.chdir(Path(__file__).parent)
    assert place(failure) == f"{Path(__file__).name}:{failure.frames[1].line}"
    assert sentence(failure).startswith("json.decoder.JSONDecodeError: Expecting")
    monkeypatch.chdir("/")
    bare = fold(ValueError(), OWN)
    assert (sentence(bare), place(bare)) == ("ValueError", "")


def test_outside_paths_stay_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failure = failure_of(divide)
    monkeypatch.chdir(tmp_path)
    assert place(failure).startswith(f"{__file__}:")
