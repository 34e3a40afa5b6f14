"""Real applications that are compared, each pinned to a version, with what is compared and how.

Programs in ``programs/`` use the libraries as their documentation shows; applications that are complete in themselves
are served by the import string that their documentation or their own command uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.world.applications import interactions
from tests.world.applications.comparison import Rule

if TYPE_CHECKING:
    from tests.support.browser import Page
    from tests.world.applications.serving import Running


@dataclass(frozen=True)
class Application:
    """One application.

    :param kind: the kind of program that it stands for.
    :param requirements: pinned; the first is the one whose version the table shows.
    :param interaction: what it does, in a few words, and the function that does it.
    :param files: names in the working folder, to files in ``programs/``.
    :param pages: paths of the pages that are fetched with all their assets.
    :param others: further paths, which no page names in plain text.
    :param rules: parts of its answers that differ at every start.
    :param intended: differences that are meant to be, by what is said of them.
    :param browse: what is done with its first page in a browser, if anything; returns what was seen.
    :param bounded: true when it also runs with ``--bounded``.
    """

    name: str
    kind: str
    requirements: tuple[str, ...]
    interaction: tuple[str, Callable[[Running], Any]]
    files: Mapping[str, str] = field(default_factory=dict)
    target: str = "main:app"
    factory: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ("/",)
    others: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    intended: tuple[Rule, ...] = ()
    browse: Callable[[Page], Any] | None = None
    bounded: bool = False

    @property
    def version(self) -> str:
        """Version of the first requirement."""
        return self.requirements[0].partition("==")[2]


CSRF = Rule(r"(csrf_?token\w*=|csrf\w*token\" value=\")[\w.+/=-]+", "a token against forged requests is random")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
EXPIRES = Rule(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "pages and cookies expire some time after the answer")
SESSION = Rule(r"session=[\w.+/=-]+", "a session's cookie is signed with its time")


def _ticks(page: Page) -> Any:
    page.wait("document.querySelectorAll('li').length == 3")
    page.click("button")
    page.wait("document.querySelectorAll('li').length == 4")
    return page.evaluate("document.body.innerText")


def _clicks(page: Page) -> Any:
    page.wait("document.body.innerText.includes('0 clicks')")
    for count in (1, 2):
        page.click("button")
        page.wait(f"document.body.innerText.includes('{count} clicks')")
    return page.evaluate("document.body.innerText")


_SETTLED = "performance.now() - Math.max(...performance.getEntries().map(entry => entry.responseEnd || 0)) > 2000"
"""Script that is true when nothing has been loaded for two seconds: Gradio shows a button before it listens to it."""


def _greeting(page: Page) -> Any:
    page.wait("!!document.querySelector('#name textarea, #name input') && !!document.querySelector('#greet')")
    page.wait(_SETTLED)
    page.evaluate("document.querySelector('#name textarea, #name input').focus()")
    page.type("Ada")
    page.click("#greet")
    greeting = "document.querySelector('#greeting textarea, #greeting input').value"
    page.wait(f"{greeting} == 'Hello Ada'")
    return page.evaluate("document.body.innerText")


def _chat(page: Page) -> Any:
    page.wait("document.body.innerText.includes('Say something') && !!document.querySelector('#chat-input')")
    page.click("#chat-input")
    page.type("good morning")
    page.wait("!!document.querySelector('#chat-submit') && !document.querySelector('#chat-submit').disabled")
    page.click("#chat-submit")
    page.wait("document.body.innerText.includes('You said good morning')")
    return True


def _slider(page: Page) -> Any:
    page.wait("document.body.innerText.includes('There are 6 of them')")
    return True


def _shown(script: str) -> Callable[[Page], Any]:
    def browse(page: Page) -> Any:
        page.wait(script)
        return True

    return browse


APPLICATIONS: Mapping[str, Application] = {
    application.name: application
    for application in (
        Application(
            "sse-starlette",
            "htmx and server-sent events",
            ("sse-starlette==3.7.0",),
            ("read a stream to its end, leave another", interactions.sse),
            files={"main.py": "sse_app.py"},
            browse=_ticks,
            bounded=True,
        ),
        Application(
            "python-socketio",
            "Socket.IO",
            ("python-socketio==5.18.1", "aiohttp"),
            ("rooms over WebSocket and polling", interactions.own_client("socketio_client.py")),
            files={"main.py": "socketio_app.py"},
            bounded=True,
        ),
        Application(
            "strawberry-graphql",
            "GraphQL with subscriptions",
            ("strawberry-graphql[fastapi]==0.341.2", "python-multipart"),
            ("query, upload, subscribe", interactions.graphql),
            files={"main.py": "strawberry_app.py"},
            pages=("/graphql", "/docs", "/openapi.json"),
        ),
        Application(
            "mcp",
            "MCP over streamable HTTP",
            ("mcp==2.3.0",),
            ("call tools, hear of progress", interactions.own_client("mcp_client.py")),
            files={"main.py": "mcp_app.py"},
            pages=("/mcp",),
            rules=(Rule("[0-9a-f]{32}", "a session's id is random"),),
            bounded=True,
        ),
        Application(
            "starlette-admin",
            "admin interface",
            ("starlette-admin==1.0.3", "itsdangerous", "python-multipart", "sqlalchemy[asyncio]"),
            (
                "log in, add a row",
                interactions.admin_login("/admin/login", "/admin/book/create", "/admin/book/list", "%s"),
            ),
            files={"main.py": "starlette_admin_app.py"},
            pages=("/admin/login",),
            rules=(CSRF, SESSION),
            bounded=True,
        ),
        Application(
            "sqladmin",
            "admin interface",
            ("sqladmin[full]==0.32.0", "sqlalchemy[asyncio]"),
            (
                "log in, add a row",
                interactions.admin_login("/admin/login", "/admin/book/create", "/admin/book/list", "%s"),
            ),
            files={"main.py": "sqladmin_app.py"},
            pages=("/admin/login",),
            rules=(CSRF, SESSION),
            bounded=True,
        ),
        Application(
            "nicegui",
            "pages whose state is on the server",
            ("nicegui==3.18.0",),
            ("Socket.IO handshake", interactions.engine_io("/_nicegui_ws/socket.io/", {})),
            files={"main.py": "nicegui_app.py"},
            rules=(SESSION, Rule(UUID, "clients and listeners have random ids")),
            browse=_clicks,
        ),
        Application(
            "gradio",
            "forms around functions",
            ("gradio==6.31.0",),
            ("call, stream, upload", interactions.own_client("gradio_client_run.py")),
            files={"main.py": "gradio_app.py"},
            environment={"GRADIO_ANALYTICS_ENABLED": "False"},
            rules=(Rule(r'"app_id":\d+', "an application's id is random"),),
            browse=_greeting,
        ),
        Application(
            "chainlit",
            "chat",
            ("chainlit==2.12.0",),
            (
                "Socket.IO handshake",
                interactions.engine_io("/chat/ws/socket.io/", {"sessionId": "1", "clientType": "webapp"}),
            ),
            files={"main.py": "chainlit_app.py", "chat.py": "chainlit_chat.py"},
            pages=("/chat/",),
            browse=_chat,
        ),
        Application(
            "datasette",
            "data on the web",
            ("datasette==0.65.5",),
            ("query, download as CSV", interactions.sql),
            files={"main.py": "datasette_app.py"},
            pages=("/", "/shop/orders", "/shop"),
            rules=(Rule(r"Queries took [\d.]+ms", "a page says how long it took"),),
        ),
        Application(
            "marimo",
            "notebooks",
            ("marimo==0.25.2",),
            ("run over WebSocket", interactions.notebook),
            files={"main.py": "marimo_app.py", "notebook.py": "marimo_notebook.py"},
            browse=_slider,
        ),
        Application(
            "titiler",
            "map tiles",
            ("titiler.application==2.4.0",),
            ("statistics, tiles", interactions.tiles),
            files={"main.py": "titiler_app.py"},
            pages=("/", "/api.html"),
            others=(
                "/cog/tiles/WebMercatorQuad/0/0/0.png?url=world.tif",
                "/cog/WebMercatorQuad/map.html?url=world.tif",
            ),
        ),
        Application(
            "mlflow",
            "experiment tracking",
            ("mlflow==3.17.2",),
            ("runs and artifacts", interactions.own_client("mlflow_client.py")),
            target="mlflow.server.fastapi_app:app",
            environment={
                "_MLFLOW_SERVER_FILE_STORE": "sqlite:///mlflow.db",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
                "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "./artifacts",
                "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
            },
            rules=(EXPIRES,),
            browse=_shown("document.body.innerText.includes('Experiments')"),
        ),
        Application(
            "prefect",
            "workflow server",
            ("prefect==3.9.1",),
            ("flows, events", interactions.flows),
            target="prefect.server.api.server:create_app",
            factory=True,
            environment={"PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        ),
        Application(
            "channels",
            "Django with WebSockets",
            ("channels==4.3.2", "django==6.1.3"),
            ("log in, upload, rooms", interactions.rooms),
            files={"main.py": "channels_app.py"},
            pages=("/admin/login/",),
            rules=(CSRF, EXPIRES),
        ),
        Application(
            "litestar",
            "framework",
            ("litestar[brotli]==2.25.0", "python-multipart"),
            ("upload, stream, WebSocket", interactions.upload_stream_echo),
            files={"main.py": "litestar_app.py"},
            pages=("/static/",),
            others=("/rows", "/events", "/static/data.bin", "/schema"),
            rules=(Rule("OPTIONS, GET|GET, OPTIONS", "methods come from a set"),),
        ),
        Application(
            "quart",
            "framework",
            ("quart==0.23.1",),
            ("upload, stream, WebSocket", interactions.upload_stream_echo),
            files={"main.py": "quart_app.py"},
            rules=(EXPIRES,),
        ),
        Application(
            "blacksheep",
            "framework",
            ("blacksheep==2.6.4",),
            ("upload, stream, WebSocket", interactions.upload_stream_echo),
            files={"main.py": "blacksheep_app.py"},
            others=("/plain",),
            intended=(
                Rule(
                    r"^HEAD \S+: content-length is (\d+), not 0, \1$",
                    "BlackSheep gives two lengths for HEAD; devserver keeps the one that GET has",
                ),
            ),
        ),
    )
}
