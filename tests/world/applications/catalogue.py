"""Real applications that are compared, each pinned to a version, with what is compared and how.

Programs in ``programs/`` use the libraries as their documentation shows; applications that are complete in themselves are
served by the import string that their documentation or their own command uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.browser import Page
from tests.world.applications import interactions
from tests.world.applications.comparison import Rule
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
    browse: Callable[[Page], Any] | None = None
    bounded: bool = False

    @property
    def version(self) -> str:
        """Version of the first requirement."""
        return self.requirements[0].partition("==")[2]


SESSION = Rule(r"session=[\w.+/=-]+", "a session's cookie is signed with its time")


def _ticks(page: Page) -> Any:
    page.wait("document.querySelectorAll('li').length == 3")
    page.click("button")
    page.wait("document.querySelectorAll('li').length == 4")
    return page.evaluate("document.body.innerText")


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
            rules=(SESSION,),
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
            rules=(SESSION,),
            bounded=True,
        ),
    )
}
