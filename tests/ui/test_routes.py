"""What dev routes shows."""

from __future__ import annotations

from devserver.app.routes import Route
from devserver.ui.routes import place, table

HOME = Route("/", methods=("GET", "HEAD"), name="home", endpoint="home", file="/p/main.py", line=3)
BOOK = Route(
    "/books/{id}",
    methods=("GET",),
    name="read",
    endpoint="Books.read",
    file="/p/shop/books.py",
    line=12,
    tags=("books",),
)
ME = Route(
    "/books/me",
    methods=("GET",),
    name="me",
    endpoint="me",
    file="/p/shop/books.py",
    line=20,
    tags=("books",),
    hidden=True,
    shadowed_by="read",
    shadowed_by_path="/books/{id}",
)
LIVE = Route("/live", "websocket", name="live", endpoint="feed", file="/p/main.py", line=9)
STATIC = Route("/static", "static", name="static", endpoint="/p/assets")
LEGACY = Route("/legacy", "mount", endpoint="Flask", file="/v/site-packages/flask/app.py", mount="")
DOCS = Route("/docs", methods=("GET", "HEAD"), name="docs", hidden=True, builtin=True)


def test_routes_are_grouped_by_router_and_aligned() -> None:
    shown = table([DOCS, HOME, BOOK, LIVE, ME, STATIC, LEGACY], directory="/p")
    assert shown.splitlines() == [
        "main.py",
        "  GET    /            home         main.py:3",
        "  WS     /live        live (feed)  main.py:9",
        "",
        "books  shop/books.py",
        "  GET    /books/{id}  read         shop/books.py:12",
        "  GET    /books/me    me           shop/books.py:20  hidden",
        "         ^ never reached: read (/books/{id}) comes first",
        "",
        "folders",
        "  FILES  /static      static       assets",
        "",
        "flask/app.py",
        "  MOUNT  /legacy      Flask        flask/app.py",
        "",
        "of the framework",
        "  GET    /docs        docs",
        "",
        "7 routes, 1 never reached",
    ]


def test_narrow_terminal_has_the_place_below() -> None:
    shown = table([BOOK], directory="/p", width=30).splitlines()
    assert shown[1:3] == ["  GET  /books/{id}  read", "       shop/books.py:12"]
    assert max(map(len, shown)) <= 30


def test_long_path_leaves_the_others_aligned() -> None:
    long = Route("/" + "x" * 80, methods=("GET",), name="long")
    lines = table([HOME, long], directory="/p").splitlines()
    assert lines[1].index("home") < 70


def test_methods_without_end_are_any() -> None:
    assert "  ANY  /x" in table([Route("/x")], directory="")


def test_group_says_where_it_lies() -> None:
    inside = Route("/api/v1/x", methods=("GET",), name="x", mount="/api", router="/v1", host="a.org")
    assert table([inside], directory="").splitlines()[0] == "a.org /api: /v1"


def test_names_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in table([Route("/\x1b[31m", methods=("GET",))], directory="")


def test_file_elsewhere_keeps_its_path() -> None:
    assert place(Route("/", file="/q/main.py", line=1), "/p") == "/q/main.py:1"
    assert place(Route("/"), "/p") == ""
