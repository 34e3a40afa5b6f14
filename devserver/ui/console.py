"""What the keys do, and what the footer says of it.

It decides; the UI writes, and the supervisor acts on the commands. Called on the thread that writes, so nothing here
waits: a browser is opened, and another program run, on a thread of its own.
"""

from __future__ import annotations

import subprocess
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from devserver.commands import Command, Pause, Reload, Repeat, Replay, Resume, Stop
from devserver.events import FAILURE_PATH, AppFailed, AppRaised, RequestSeen, RequestsSeen, RoutesSeen, ServerReady

if TYPE_CHECKING:
    from devserver.events import Failure
    from devserver.ui.narrator import Line

TWICE_S = 2.0
"""Within this time the second q quits."""
ENVIRONMENT_S = 20.0
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""

HELP: Sequence[tuple[str, str]] = (
    ("r", "reload"),
    ("R", "reload in a fresh process"),
    ("p", "pause reloading, and go on"),
    ("x", "repeat the last request"),
    ("X", "repeat it after each save, or no longer"),
    ("o", "open the app in a browser"),
    ("d", "open its documentation"),
    ("l", "list the routes"),
    ("e", "show the environment"),
    ("t", "show the last traceback whole"),
    ("c", "clear the screen"),
    ("h", "this help"),
    ("q", "quit, when pressed twice; Ctrl+C does so at once"),
)

Say: TypeAlias = "Callable[[list[Line]], None]"


class Console:
    """The state behind the keys.

    :param say: writes lines.
    :param refresh: the footer says something else now.
    :param clear: clears the screen.
    :param post: hands a command to the supervisor.
    :param listing: the program that shows the environment, and the variables that it is started with.
    """

    def __init__(
        self,
        say: Say,
        refresh: Callable[[], None],
        clear: Callable[[], None],
        post: Callable[[Command], None],
        *,
        listing: tuple[Sequence[str], Mapping[str, str]] = ((), {}),
    ) -> None:
        self._say = say
        self._refresh = refresh
        self._clear = clear
        self._post = post
        self._listing = listing
        self.paused = self.replays = False
        self.ready: ServerReady | None = None
        self.routes: RoutesSeen | None = None
        self.failure: Failure | None = None
        """The last one, redacted."""
        self.last: RequestSeen | None = None
        """The last request."""
        self._asks = ""
        """What Enter says yes to."""
        self._quits_until = 0.0
        self._actions: dict[str, Callable[[], None]] = {
            "r": lambda: post(Reload()),
            "R": lambda: post(Reload(cold=True)),
            "p": self._pause,
            "x": self._repeat,
            "X": self._replay,
            "o": lambda: self._open("/"),
            "d": self._open_docs,
            "l": self._list_routes,
            "e": self._show_environment,
            "t": self._show_traceback,
            "c": clear,
            "h": self._help,
            "?": self._help,
            "q": self._quit,
        }

    @property
    def footer(self) -> str:
        """One line."""
        if self._asks:
            return f"  repeat {self._asks}?  Enter: yes   any other key: no"
        if time.monotonic() < self._quits_until:
            return "  press q again to quit"
        state = ["paused"] if self.paused else []
        state += ["replays the last request"] if self.replays else []
        left = f"  {', '.join(state)}  " if state else "  "
        return f"{left}r reload · o open · d docs · x repeat · h help · q quit"

    def press(self, key: str) -> None:
        """Does what a key is for; others do nothing."""
        asked, self._asks = self._asks, ""
        if key == "enter":
            if asked:
                self._post(Repeat())
            self._refresh()
            return
        if asked:
            self._refresh()
            return
        action = self._actions.get(key)
        if action is not None:
            action()

    def see(self, event: object) -> None:
        """Remembers what keys ask for."""
        match event:
            case ServerReady():
                self.ready = event
            case RoutesSeen():
                self.routes = event
            case AppFailed() | AppRaised() if event.failure is not None:
                self.failure = event.failure
            case RequestsSeen():
                requests = [seen for seen in event.requests if seen.method != "WS"]
                self.last = requests[-1] if requests else self.last
            case _:
                pass

    # Keys

    def _pause(self) -> None:
        self.paused = not self.paused
        self._post(Pause() if self.paused else Resume())
        self._refresh()

    def _repeat(self) -> None:
        last = self.last
        if last is None:
            self._note("No request has come yet.")
        elif last.method in SAFE:
            self._post(Repeat())
        else:
            self._asks = f"{last.method} {last.target}"
            self._refresh()

    def _replay(self) -> None:
        self.replays = not self.replays
        self._post(Replay(on=self.replays))
        self._refresh()

    def _url(self, path: str) -> str:
        """The address on this machine; empty when there is none yet."""
        url = next((each for each in self.ready.urls if each.startswith("http")), "") if self.ready else ""
        return url and url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]").rstrip("/") + path

    def _open(self, path: str) -> None:
        url = self._url(path)
        if not url:
            self._note("There is no address to open yet.")
            return
        self._note(f"opening {url}")
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    def _open_docs(self) -> None:
        if self.ready is not None and self.ready.docs_path:
            self._open(self.ready.docs_path)
        else:
            self._note("The app has no documentation page.")

    def _list_routes(self) -> None:
        if self.routes is None or not self.routes.routes:
            self._note("The app has told of no routes yet.")
            return
        width = max(len(methods) for methods, _, _ in self.routes.routes)
        reach = min(40, max(len(path) for _, path, _ in self.routes.routes))
        self._say(
            [
                (("strong", f"  {methods:<{width}} "), ("text", f" {path:<{reach}}"), ("dim", f"  {where}"))
                for methods, path, where in self.routes.routes
            ]
        )

    def _show_environment(self) -> None:
        threading.Thread(target=self._ask_for_environment, daemon=True).start()

    def _ask_for_environment(self) -> None:
        # In a process of its own: it reads files, and shows what `dev env` shows.
        command, environment = self._listing
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ENVIRONMENT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            self._note(f"The environment cannot be shown: {exc}.")
            return
        self._say([(("text", f"  {line}"),) for line in (done.stdout or done.stderr).splitlines()])

    def _show_traceback(self) -> None:
        if self.failure is None or not self.failure.traceback:
            self._note("Nothing has failed yet.")
            return
        lines: list[Line] = [(("text", line),) for line in self.failure.traceback.rstrip().splitlines()]
        url = self._url(FAILURE_PATH)
        self._say([*lines, (("dim", "  as Markdown: "), ("link", url))] if url else lines)

    def _help(self) -> None:
        self._say([(("strong", f"    {key}  "), ("text", text)) for key, text in HELP])

    def _quit(self) -> None:
        now = time.monotonic()
        if now < self._quits_until:
            self._post(Stop())
            return
        self._quits_until = now + TWICE_S
        self._refresh()
        timer = threading.Timer(TWICE_S, self._refresh)
        timer.daemon = True
        timer.start()

    def _note(self, text: str) -> None:
        self._say([(("dim", f"  {text}"),)])
