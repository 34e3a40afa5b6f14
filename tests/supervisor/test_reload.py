"""The reload supervisor with real processes, real files and real requests."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from devserver.server.durations import SAME_SIGNAL_S
from devserver.supervisor.changes import AGAIN_AFTER_S
from tests.support.reload import PATIENCE_S, Project, alive, answering, serve, until

BROKEN = "def app(:\n"
FAILING_STARTUP = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


def test_save_new_code_answers(project: Project) -> None:
    with serve(project) as session:
        assert session.get().body == "1"
        project.write("main.py", answering("'2'"))
        reloaded = session.wait("Reloaded")
        assert session.get().body == "2"
        assert reloaded["mode"] == project.mode
        assert reloaded["paths"] == [str(project.root / "main.py")]
        assert 0 < reloaded["duration_s"] < PATIENCE_S
        assert session.wait("ServerReady")["urls"] == [f"http://127.0.0.1:{session.address[1]}"]
        assert session.wait("ServerReady")["mode"] == project.mode


def test_saves_of_one_size_within_a_second_are_all_served(project: Project) -> None:
    with serve(project) as session:
        served = [session.get().body]
        for number in (2, 3, 4):
            project.write("main.py", answering(f"'{number}'"))
            session.wait("Reloaded", number - 1)
            served.append(session.get().body)
        assert served == ["1", "2", "3", "4"]


def test_save_by_replacing_the_file_reloads(project: Project) -> None:
    with serve(project) as session:
        for number in (2, 3):
            project.replace("main.py", answering(f"'{number}'"))
            session.wait("Reloaded", number - 1)
            assert session.get().body == str(number)


def test_file_truncated_and_written_later_is_reloaded_once(project: Project) -> None:
    with serve(project) as session:
        for number in range(2, 100):
            began, failed = time.monotonic(), len(session.named("AppFailed"))
            with (project.root / "main.py").open("w") as file:
                # As an editor does, which is faster than a second look at the file unless the machine is busy.
                time.sleep(AGAIN_AFTER_S / 4)
                file.write(answering(f"'{number}'"))
            in_time = time.monotonic() - began < AGAIN_AFTER_S
            session.wait_body(str(number))
            if in_time:
                assert len(session.named("AppFailed")) == failed
                return
        raise AssertionError("the machine is too busy for this test")


def test_file_deleted_and_written_again_reloads(project: Project) -> None:
    with serve(project) as session:
        (project.root / "main.py").unlink()
        session.wait("AppFailed")
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_burst_of_saves_ends_with_the_last(project: Project) -> None:
    with serve(project) as session:
        for number in range(2, 22):
            project.replace("main.py", answering(f"'{number}'"))
            time.sleep(0.005 * (number % 7))
        session.wait_body("21")
        assert session.named("AppFailed") == []
        assert session.named("WorkerDied") == []


def slowly(project: Project) -> str:
    """Source whose import takes for ever, and tells in a file beside the project which process does it."""
    path = str(project.root.parent / "importing")
    tell = f"pathlib.Path({path!r}).write_text(f'{{os.getpid()}}.')"
    return answering("'slow'", before=f"import os, pathlib, time\n{tell}\ntime.sleep(600)")


def wait_importing(project: Project, other_than: int = 0) -> int:
    """The process that imports such source, as soon as there is one."""
    path = project.root.parent / "importing"

    def found() -> int:
        text = path.read_text() if path.exists() else ""
        return int(text[:-1]) if text.endswith(".") else 0

    until(lambda: found() not in {0, other_than})
    return found()


def test_save_during_an_import_abandons_the_candidate(project: Project) -> None:
    with serve(project) as session:
        project.write("main.py", slowly(project))
        slow = wait_importing(project)
        project.write("main.py", answering("'2'"))
        assert session.wait("Reloaded")["paths"] == [str(project.root / "main.py")]
        assert session.get().body == "2"
        until(lambda: not alive(slow))


def test_changes_during_a_reload_are_part_of_it(project: Project) -> None:
    project.write("part.py", "value = 1")
    project.write("main.py", answering("value", before="from part import value"))
    with serve(project) as session:
        project.write("main.py", slowly(project))
        slow = wait_importing(project)
        project.write("part.py", "value = 2")
        wait_importing(project, other_than=slow)
        project.write("main.py", answering("value", before="from part import value"))
        reloaded = session.wait("Reloaded")
        assert reloaded["paths"] == [str(project.root / "main.py"), str(project.root / "part.py")]
        assert session.get().body == "2"
        assert len(session.named("Reloaded")) == 1


def test_lifespans_never_overlap(project: Project) -> None:
    log = project.root.parent / "lifespans"
    source = """
import os, time
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        with open({log!r}, "a") as file: print("up", file=file)
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        time.sleep(0.3)
        with open({log!r}, "a") as file: print("down", file=file)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"{number}"}})
"""
    project.write("main.py", source.format(log=str(log), number=1))
    with serve(project) as session:
        for number in (2, 3, 4):
            project.write("main.py", source.format(log=str(log), number=number))
            session.wait("Reloaded", number - 1)
        assert session.get().body == "4"
        assert session.stop() == 0
    assert log.read_text().split() == ["up", "down"] * 4


# Broken code


def test_last_good_code_serves_while_an_import_fails(project: Project) -> None:
    with serve(project, on_error="last-good") as session:
        first = session.worker
        for _ in range(2):
            failed = len(session.named("AppFailed"))
            project.write("main.py", BROKEN + f"# {failed}")
            session.wait("AppFailed", failed + 1)
            assert session.get().body == "1"
        assert alive(first)
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        assert session.get().body == "2"
        until(lambda: not alive(first))
        project.write("main.py", "import os; os._exit(7)")
        session.wait("WorkerDied")
        assert session.get().body == "2"
        assert session.stop() == 0
    assert not session.named("ServerReady")[2:]


def test_last_good_code_answers_until_its_successor_is_imported(project: Project) -> None:
    with serve(project, on_error="last-good") as session:
        project.write("main.py", answering("'slow'", before="import time; time.sleep(600)"))
        session.wait("ServerStarting", 2)
        assert session.get().body == "1"
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_startup_error_is_shown_although_the_last_good_code_is_kept(project: Project) -> None:
    with serve(project, on_error="last-good") as session:
        project.write("main.py", FAILING_STARTUP)
        session.wait("AppFailed")
        assert session.get().status == 500


def test_syntax_error_is_answered_with_the_error_until_it_is_fixed(project: Project) -> None:
    with serve(project) as session:
        project.write("main.py", BROKEN)
        failed = session.wait("AppFailed")
        assert failed["failure"]["kind"] == "SyntaxError"
        answer = session.get()
        assert answer.status == 500
        assert "SyntaxError" in answer.body
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        assert session.get().status == 200
        assert session.get().body == "2"


def test_first_start_broken_is_answered_with_the_error_until_it_is_fixed(project: Project) -> None:
    project.write("main.py", BROKEN)
    with serve(project, ready=False) as session:
        session.wait("AppFailed")
        assert session.get().status == 500
        project.write("main.py", answering("'1'"))
        session.wait("ServerReady")
        assert session.get().body == "1"


@pytest.mark.parametrize(
    "statement", ["import sys; sys.exit(5)", "raise ValueError('no')", "import os.nothing", "raise KeyboardInterrupt"]
)
def test_import_that_fails_shows_the_error_until_the_next_save(project: Project, statement: str) -> None:
    with serve(project) as session:
        project.write("main.py", answering("'2'", before=statement))
        until(lambda: session.get().status == 500)
        assert session.process.poll() is None
        project.write("main.py", answering("'3'"))
        session.wait("Reloaded")
        assert session.get().body == "3"


def test_startup_that_fails_shows_the_error_until_the_next_save(project: Project) -> None:
    failing = answering("'2'").replace("await receive()", "raise RuntimeError('no database')", 1)
    failing = failing.replace(
        'if scope["type"] == "lifespan":', 'if scope["type"] == "lifespan":\n        await receive()'
    )
    with serve(project) as session:
        project.write("main.py", failing)
        session.wait("AppFailed")
        answer = session.get()
        assert answer.status == 500
        assert "no database" in answer.body
        project.write("main.py", answering("'3'"))
        session.wait("Reloaded")
        assert session.get().body == "3"


@pytest.mark.parametrize("ending", ["os._exit(9)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_process_that_dies_while_it_serves_is_not_restarted_before_the_next_save(project: Project, ending: str) -> None:
    dying = answering(f"'1' if scope['path'] == '/' else {ending}", before="import os, signal")
    project.write("main.py", dying)
    with serve(project) as session:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            session.get("/die")
        died = session.wait("WorkerDied")
        assert died["exit_code"] in {9, -signal.SIGSEGV}
        answer = session.get()
        assert answer.status == 500
        assert session.get("/die").status == 500
        assert len(session.named("ServerStarting")) == 1
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_process_that_dies_while_it_is_imported_shows_a_page(project: Project) -> None:
    with serve(project) as session:
        project.write("main.py", answering("'2'", before="import os; os._exit(0)"))
        assert session.wait("WorkerDied")["exit_code"] == 0
        assert session.get().status == 500
        project.write("main.py", answering("'3'"))
        session.wait("Reloaded")
        assert session.get().body == "3"


def test_module_written_after_it_was_missed_reloads(project: Project) -> None:
    with serve(project) as session:
        project.write("main.py", answering("new.value", before="import new"))
        session.wait("AppFailed")
        project.write("new.py", "value = 2")
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_package_written_after_it_was_missed_reloads(project: Project) -> None:
    with serve(project) as session:
        project.write("main.py", answering("new.inner.value", before="import new.inner"))
        session.wait("AppFailed")
        project.write("new/inner.py", "value = 3")
        session.wait_body("3")


def test_failing_app_that_writes_files_is_not_restarted_by_them(project: Project) -> None:
    writing = (
        "import os\nfor name in ('data.json', 'state.txt'):\n    os.system(f'date +%N > {name}')\nraise ValueError(1)\n"
    )
    with serve(project) as session:
        project.write("main.py", writing)
        session.wait("AppFailed")
        # Nothing tells that nothing happens; a sweep would have come by then.
        time.sleep(1.0)
        assert len(session.named("AppFailed")) == 1
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")


def test_failing_app_beside_which_a_file_is_written_again_and_again_is_tried_once_more(project: Project) -> None:
    # It begins when the app has failed: nothing tells whether that app or a person writes.
    beating = "sleep 0.3; while true; do date +%N > beat.txt; echo >> ../beats; sleep 0.05; done"
    beats = project.root.parent / "beats"
    with serve(project) as session:
        project.write("main.py", f"import subprocess\nsubprocess.Popen({beating!r}, shell=True)\nraise ValueError(1)\n")
        session.wait("AppFailed")
        until(lambda: beats.exists() and beats.stat().st_size > 30)
        assert len(session.named("AppFailed")) <= 2


# What counts as a change


def test_touched_file_is_no_change(project: Project) -> None:
    with serve(project) as session:
        os.utime(project.root / "main.py")
        event = session.wait("FilesChanged")
        assert event["reloading"] is False
        assert event["reason"] == "no change in content"
        assert session.get().body == "1"
        assert len(session.named("ServerStarting")) == 1


def test_file_that_is_not_loaded_restarts_nothing(project: Project) -> None:
    with serve(project) as session:
        project.write("test_main.py", "def test() -> None: pass")
        event = session.wait("FilesChanged")
        assert event["reloading"] is False
        assert event["reason"] == "not loaded by the app"
        assert len(session.named("ServerStarting")) == 1


def test_file_opened_while_importing_counts(project: Project) -> None:
    project.write("settings.yaml", "one")
    project.write("main.py", answering("text", before="text = open('settings.yaml').read()"))
    with serve(project) as session:
        assert session.get().body == "one"
        project.write("settings.yaml", "two")
        session.wait("Reloaded")
        assert session.get().body == "two"


def test_file_that_the_app_reads_and_writes_does_not_count(project: Project) -> None:
    project.write("db.json", "0")
    writing = (
        "def bump():\n    n = int(open('db.json').read()) + 1\n    open('db.json', 'w').write(str(n))\n    return n\n"
    )
    project.write("main.py", answering("bump()", before="first = open('db.json').read()\n" + writing))
    with serve(project) as session:
        assert [session.get().body for _ in range(5)] == ["1", "2", "3", "4", "5"]
        project.write("main.py", answering("'new'"))
        session.wait("Reloaded")
        assert len(session.named("ServerStarting")) == 2


def test_module_imported_by_a_request_counts(project: Project) -> None:
    project.write("lazy.py", "value = 1")
    project.write("main.py", answering("__import__('lazy').value"))
    with serve(project) as session:
        assert session.get().body == "1"
        until(lambda: any("lazy.py" in path for path, _ in session.named("FilesLoaded")[-1]["executed"]))
        project.write("lazy.py", "value = 2")
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_module_in_a_package_counts(project: Project) -> None:
    project.write("shop/__init__.py", "")
    project.write("shop/models/price.py", "value = 1")
    project.write("main.py", answering("value", before="from shop.models.price import value"))
    with serve(project) as session:
        assert session.get().body == "1"
        project.write("shop/models/price.py", "value = 2")
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_env_file_counts_and_is_read_again(project: Project) -> None:
    project.write(".env", "NAME=one\nREAL=file\n")
    project.write("main.py", answering("os.environ['NAME'] + os.environ['REAL']", before="import os"))
    with serve(project, env_file=[".env"], environment={"REAL": "real"}) as session:
        assert session.get().body == "onereal"
        project.write(".env", "NAME=two\nREAL=other\n")
        session.wait("Reloaded")
        assert session.get().body == "tworeal"


def test_included_file_counts_and_excluded_does_not(project: Project) -> None:
    project.write("pages/index.html", "a")
    project.write("skipped.py", "")
    project.write("main.py", answering("'1'", before="import skipped"))
    with serve(project, reload_includes=["*.html"], reload_excludes=["skipped.py"]) as session:
        project.write("skipped.py", "x = 1")
        project.write("pages/index.html", "b")
        session.wait("Reloaded")
        changed = [event["paths"] for event in session.named("FilesChanged")]
        assert changed == [[str(project.root / "pages/index.html")]]


def test_any_module_below_a_reload_dir_counts(project: Project) -> None:
    library = Project(project.root.parent / "library")
    library.write("deep/er/unused.py", "")
    with serve(project, reload_dirs=[str(library.root)]) as session:
        library.write("deep/er/unused.py", "x = 1")
        session.wait("Reloaded")
        library.write("new/folder/file.py", "")
        library.write("new/folder/file.py", "x = 2")
        session.wait("Reloaded", 2)


def test_replaced_folder_is_still_watched(project: Project) -> None:
    project.write("shop/price.py", "value = 1")
    project.write("main.py", answering("value", before="from shop.price import value"))
    with serve(project) as session:
        (project.root / "shop").rename(project.root.parent / "away")
        project.write("shop/price.py", "value = 2")
        session.wait_body("2")
        project.write("shop/price.py", "value = 3")
        session.wait_body("3")


def test_changes_wait_while_git_works(project: Project) -> None:
    lock = project.write(".git/index.lock", "")
    with serve(project) as session:
        os.utime(lock)
        project.write("main.py", answering("'2'"))
        # Started anew for another reason, it finds that the file is another one; nobody says so.
        session.order("reload")
        assert session.wait("Reloaded")["paths"] == []
        project.write("main.py", answering("'3'"))
        lock.unlink()
        assert session.wait("Reloaded", 2)["paths"] == [str(project.root / "main.py")]
        assert session.get().body == "3"


def test_paused_changes_wait_for_resume(project: Project) -> None:
    with serve(project) as session:
        session.order("pause")
        project.write("main.py", answering("'2'"))
        # Started anew for another reason, it finds that the file is another one; nobody says so.
        session.order("reload")
        assert session.wait("Reloaded")["paths"] == []
        project.write("main.py", answering("'3'"))
        session.order("resume")
        assert session.wait("Reloaded", 2)["paths"] == [str(project.root / "main.py")]
        assert session.get().body == "3"


@pytest.mark.parametrize("how", ["command", "signal"])
def test_reload_can_be_asked_for(project: Project, how: str) -> None:
    with serve(project) as session:
        first = session.worker
        if how == "command":
            session.order("reload")
        else:
            session.signal(signal.SIGHUP)
        session.wait("Reloaded")
        assert session.worker != first
        assert session.get().body == "1"


def test_debugger_is_told_at_once_that_it_has_no_terminal(project: Project) -> None:
    project.write("main.py", answering("breakpoint()"))
    with serve(project) as session:
        assert session.get().status == 500
        failure = session.wait("AppRaised")["failure"]
        assert "run in a terminal" in failure["message"]
        assert failure["frames"][0]["source"].count("breakpoint()") == 1


def test_debugger_that_somebody_chose_is_left_alone(project: Project) -> None:
    project.write("main.py", answering("breakpoint()"))
    with serve(project, environment={"PYTHONBREAKPOINT": "builtins.repr"}) as session:
        # Called without an argument: what was chosen is what fails.
        assert session.get().status == 500
        assert "repr()" in session.wait("AppRaised")["failure"]["message"]


def test_app_reads_nothing_of_what_is_typed(project: Project) -> None:
    project.write("main.py", answering("repr(sys.stdin.read())", before="import sys"))
    with serve(project) as session:
        assert session.get().body == "''"


# Clients


def test_connections_are_never_refused_and_never_go_back_to_old_code(project: Project) -> None:
    with serve(project) as session:
        # Appended to when an answer is complete: what was asked of the old code ends before the new code begins.
        answers: list[str] = []
        failures: list[Exception] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                try:
                    answers.append(session.get().body)
                except (OSError, http.client.HTTPException) as exc:
                    failures.append(exc)

        clients = [threading.Thread(target=ask) for _ in range(3)]
        for client in clients:
            client.start()
        for number in range(2, 8):
            project.write("main.py", answering(f"'{number}'"))
            session.wait("Reloaded", number - 1)
        asked = len(answers)
        until(lambda: len(answers) > asked + len(clients))
        done.set()
        for client in clients:
            client.join()
        assert failures == []
        assert answers == sorted(answers)
        assert answers[-1] == "7"


def test_kept_connection_goes_on_after_a_reload(project: Project) -> None:
    with serve(project) as session:
        connection = http.client.HTTPConnection(*session.address, timeout=PATIENCE_S)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"1"
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        # Closed while it was idle: http.client notices when it writes or reads, and a client asks again.
        try:
            connection.request("GET", "/")
            body = connection.getresponse().read()
        except (http.client.HTTPException, ConnectionError):
            connection.close()
            connection.request("GET", "/")
            body = connection.getresponse().read()
        connection.close()
        assert body == b"2"


def test_request_in_flight_is_finished_by_the_old_code(project: Project) -> None:
    waiting = "(open('../asked', 'w').close(), await asyncio.sleep(0.5), 'old')[2]"
    project.write("main.py", answering(waiting, before="import asyncio"))
    with serve(project) as session:
        bodies: list[str] = []
        client = threading.Thread(target=lambda: bodies.append(session.get("/late").body))
        client.start()
        until(lambda: (project.root.parent / "asked").exists())
        project.write("main.py", answering("'new'"))
        session.wait("ServerStopping")
        assert session.get().body == "new"
        client.join()
        assert bodies == ["old"]


ENDLESS = """
import asyncio
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while True:
        await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
        await asyncio.sleep(0.05)
"""


def test_stream_of_events_does_not_delay_a_reload(project: Project) -> None:
    project.write("main.py", ENDLESS)
    with serve(project, timeout_graceful_shutdown=600, lifespan="off") as session:
        with socket.create_connection(session.address, timeout=PATIENCE_S) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(1000)
            project.write("main.py", answering("'2'"))
            session.wait("Reloaded")
            assert session.get().body == "2"


def test_websocket_is_closed_with_1012_and_the_new_code_answers(project: Project) -> None:
    app = """
async def app(scope, receive, send):
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": %r})
    while (await receive())["type"] != "websocket.disconnect":
        pass
"""
    project.write("main.py", app % "1")
    with serve(project, timeout_graceful_shutdown=600, lifespan="off") as session:
        url = "ws://{}:{}/".format(*session.address)
        with connect(url) as old:
            assert old.recv(PATIENCE_S) == "1"
            project.write("main.py", app % "2")
            with pytest.raises(ConnectionClosed) as closed:
                old.recv(PATIENCE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        with connect(url) as new:
            assert new.recv(PATIENCE_S) == "2"


def test_open_stream_holds_a_reload_up_for_no_longer_than_the_grace(project: Project) -> None:
    project.write("main.py", ENDLESS.replace("text/event-stream", "text/plain"))
    with serve(project, timeout_graceful_shutdown=1, lifespan="off") as session:
        with socket.create_connection(session.address, timeout=PATIENCE_S) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(1000)
            project.write("main.py", answering("'2'"))
            # The stream was waited for, and not for ever.
            assert session.wait("Reloaded")["duration_s"] >= 0.9
            assert session.get().body == "2"


def test_worker_whose_loop_is_blocked_is_killed(project: Project) -> None:
    blocked = "import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    project.write("main.py", answering("(open('../asked', 'w').close(), time.sleep(600))", before=blocked))
    with serve(project, timeout_graceful_shutdown=1) as session:
        worker = session.worker
        with socket.create_connection(session.address) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: (project.root.parent / "asked").exists())
            project.write("main.py", answering("'2'"))
            session.wait("Reloaded")
        assert not alive(worker)
        assert session.get().body == "2"


def test_unix_socket_stays_across_reloads(project: Project) -> None:
    path = project.root.parent / "app.sock"
    with serve(project, uds=str(path), port=8000) as session:
        for number in (2, 3):
            project.write("main.py", answering(f"'{number}'"))
            session.wait("Reloaded", number - 1)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                received = b""
                while data := sock.recv(1000):
                    received += data
            assert received.endswith(str(number).encode())


def test_port_bound_at_module_level_makes_reloads_take_turns(project: Project) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    binding = f"import socket; sock = socket.socket(); sock.bind(('127.0.0.1', {port})); sock.listen()"
    project.write("main.py", answering("'1'", before=binding))
    with serve(project) as session:
        for number in (2, 3):
            project.write("main.py", answering(f"'{number}'", before=binding))
            session.wait("Reloaded", number - 1)
            assert session.get().body == str(number)
        assert session.named("AppFailed") == []


# Ending


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_ends_worker_and_supervisor_with_zero(project: Project, number: int) -> None:
    with serve(project) as session:
        worker = session.worker
        session.signal(number)
        assert session.process.wait(PATIENCE_S) == 0
        assert not alive(worker)
        assert session.wait("ServerStopped")["pid"] == worker


def test_second_ctrl_c_ends_at_once(project: Project) -> None:
    hanging = "(open('../asked', 'w').close(), await asyncio.sleep(600))"
    project.write("main.py", answering(hanging, before="import asyncio"))
    with serve(project, timeout_graceful_shutdown=600) as session:
        with socket.create_connection(session.address) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: (project.root.parent / "asked").exists())
            session.signal(signal.SIGINT)
            session.wait("ServerStopping")
            began = time.monotonic()
            # Before that it would be the same signal.
            until(lambda: time.monotonic() > began + SAME_SIGNAL_S)
            session.signal(signal.SIGINT)
            assert session.process.wait(PATIENCE_S) == 0


def test_ctrl_c_during_a_hanging_import_ends_at_once(project: Project) -> None:
    project.write("main.py", answering("'1'", before="import time; time.sleep(600)"))
    with serve(project, ready=False) as session:
        session.wait("ServerStarting")
        session.signal(signal.SIGINT)
        assert session.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("hanging", ["await asyncio.sleep(600)", "time.sleep(600)"])
def test_hanging_startup_holds_up_neither_a_save_nor_ctrl_c(project: Project, hanging: str) -> None:
    source = answering("'1'", before="import asyncio, time").replace(
        "await receive()", f"await receive(); {hanging}", 1
    )
    project.write("main.py", source)
    # As long as requests may take to finish; here are none.
    with serve(project, ready=False, timeout_graceful_shutdown=600) as session:
        session.wait("LifespanChanged")
        project.write("main.py", source + "\n")
        session.wait("ServerStarting", 2)
        until(lambda: [event["phase"] for event in session.named("LifespanChanged")].count("startup") == 2)
        session.signal(signal.SIGINT)
        assert session.process.wait(PATIENCE_S) == 0


def test_ctrl_c_while_the_error_is_shown_ends_with_zero(project: Project) -> None:
    project.write("main.py", BROKEN)
    with serve(project, ready=False) as session:
        session.wait("AppFailed")
        assert session.get().status == 500
        assert session.stop() == 0


def test_supervisor_that_is_killed_takes_everything_along(project: Project) -> None:
    project.write(
        "main.py", answering("child.pid", before="import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    )
    with serve(project) as session:
        worker, grandchild = session.worker, int(session.get().body)
        session.process.kill()
        until(lambda: not alive(worker))
        until(lambda: not alive(grandchild))


def test_supervisor_killed_during_an_import_leaves_nothing(project: Project) -> None:
    project.write("main.py", answering("'1'", before="import time; time.sleep(600)"))
    with serve(project, ready=False) as session:
        pid = session.wait("ServerStarting")["pid"]
        until(lambda: b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        session.process.kill()
        until(lambda: not alive(pid))


def test_processes_that_the_app_started_end_with_a_reload(project: Project) -> None:
    project.write(
        "main.py", answering("child.pid", before="import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    )
    with serve(project) as session:
        grandchild = int(session.get().body)
        project.write("main.py", answering("'2'"))
        session.wait("Reloaded")
        until(lambda: not alive(grandchild))


def test_request_limit_ends_the_supervisor_with_zero(project: Project) -> None:
    with serve(project, limit_max_requests=2) as session:
        session.get()
        session.get()
        assert session.process.wait(PATIENCE_S) == 0


def test_supervisor_imports_neither_the_app_nor_a_loop(project: Project) -> None:
    project.write("main.py", answering("'1'", before="import fastapi"))
    with serve(project) as session:
        assert session.stop() == 0
        modules = set(session.wait("End")["modules"])
    assert modules.isdisjoint({"main", "fastapi", "starlette", "pydantic", "uvloop", "asyncio", "httptools"})
