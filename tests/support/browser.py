"""Chromium without a window, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).

with page(folder, "http://127.0.0.1:8000/") as shown:
    shown.click("button")
    shown.wait("document.title == 'Done'")
    assert shown.problems == []
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.clients import tool
from tests.support.server import PATIENCE_S, spawned, until

_LISTENING = r"DevTools listening on (ws://\S+)"
_OPTIONS = (
    "--headless=new",
    # Chromium takes a free port and says which; nobody else can have taken it in between.
    "--remote-debugging-port=0",
    "--disable-gpu",
    # HTTP/3 would be tried beside what is tested.
    "--disable-quic",
    # It asks nothing of anybody but the page.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--lang=en",
)


class Page:
    """A tab.

    :ivar problems: exceptions that scripts have not caught, and errors of the browser itself, so far.
    :ivar console: the same and what scripts called console.error() with, as a console shows it: without times and ids.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.problems: list[str] = []
        self.console: list[str] = []
        self._connection = connection
        self._number = 0
        self._session = ""
        self._loaded = False

    def open(self, url: str, *, width: int = 900, height: int = 700) -> None:
        """Opens a tab of so many pixels and loads ``url``."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        # As if its window were in front.
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(width, height)
        self._loaded = False
        assert "errorText" not in self._call("Page.navigate", url=url)
        while not self._loaded:
            self._receive()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, as JSON can carry it.

        :raises AssertionError: it throws.
        """
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, f"{script}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def wait(self, script: str) -> None:
        """Returns when a JavaScript expression has become true.

        :raises AssertionError: it does not in time.
        """
        try:
            until(lambda: self.evaluate(script))
        except AssertionError as exc:
            text = self.evaluate("document.body.innerText")
            raise AssertionError(f"{script} has not become true: {exc}; {self.problems}; the page:\n{text}") from None

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element, as a mouse does."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.evaluate(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Puts text into the field that has the focus."""
        self._call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Presses and lets go the Enter key."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self._call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self._call("Input.dispatchKeyEvent", type="keyUp", **key)

    def accessible(self) -> set[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return {
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        }

    def resize(self, width: int, height: int) -> None:
        """The size of the tab from now on, in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Whoever looks at it prefers a ``light`` or a ``dark`` page from now on."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Writes what can be seen as a PNG; for people."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Ends the browser."""
        self._session = ""
        self._call("Browser.close")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._connection.send(json.dumps(request))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(PATIENCE_S))
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.problems.append(str(details))
                self.console.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if message["params"]["type"] == "error":
                values = message["params"]["args"]
                self.console.append(" ".join(str(value.get("value", value.get("description"))) for value in values))
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                entry = message["params"]["entry"]
                self.problems.append(str(entry))
                self.console.append(f"{entry['text']} ({entry.get('url', '')})")
        return message


@contextmanager
def page(folder: Path, url: str) -> Iterator[Page]:
    """A tab with ``url`` in a browser of its own, which keeps its files in ``folder`` and ends with the block."""
    options = [*_OPTIONS, f"--user-data-dir={folder / 'browser'}"]
    if os.geteuid() == 0:
        # Chromium does not start as root otherwise.
        options.append("--no-sandbox")
    with spawned([tool("chromium"), *options, "about:blank"], folder) as browser:
        browser.wait_text(_LISTENING)
        (address,) = re.findall(_LISTENING, browser.text)
        with connect(address, proxy=None, max_size=None, open_timeout=PATIENCE_S) as connection:
            shown = Page(connection)
            shown.open(url)
            yield shown
            shown.close()
        browser.wait()
