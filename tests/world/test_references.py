"""References of pages, stylesheets and scripts."""

from __future__ import annotations

import pytest

from tests.world.applications.references import of_css, of_html, of_script, same_origin

PAGE = "http://site/docs/page"


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<link rel="stylesheet" href="a.css">', ["http://site/docs/a.css"]),
        ('<link rel="shortcut ICON" href="/i.ico">', ["http://site/i.ico"]),
        ('<link rel=modulepreload href=/m.js><link rel="canonical" href="/other">', ["http://site/m.js"]),
        ('<script src="../s.js?v=1&amp;w=2"></script>', ["http://site/s.js?v=1&w=2"]),
        ("<img src=a.png srcset='b.png 1x, c.png 2x'>", [f"http://site/docs/{name}.png" for name in "abc"]),
        ("<svg><use href='sprite.svg#home'/></svg><a href='/elsewhere'>", ["http://site/docs/sprite.svg"]),
        ("<svg><use href='#home'/></svg><img src='data:image/png;base64,AA=='><img src=''>", []),
        ("<base href='/root/'><script src=s.js></script>", ["http://site/root/s.js"]),
        ("<style>body { background: url(b.png) }</style>", ["http://site/docs/b.png"]),
        ("<p style=\"background: url('b.png')\">url(c.png)</p>", ["http://site/docs/b.png"]),
        ("<script type=module>import { a } from './a.js'</script>", ["http://site/docs/a.js"]),
        ("<script>const text = 'import x from \"./a.js\"'</script>", []),
        (
            '<script type="importmap">{"imports": {"vue": "/vue.js", "all/": "/all/"}}</script>',
            ["http://site/vue.js"],
        ),
        ("<script type=importmap>{</script>", []),
        ("<img src=a.png><img src=./a.png>", ["http://site/docs/a.png"]),
        ("<img src=http://cdn/a.png>", ["http://cdn/a.png"]),
    ],
)
def test_page_references_what_a_browser_fetches(html: str, found: list[str]) -> None:
    assert of_html(html, PAGE) == found


def test_stylesheet_references_fonts_images_and_stylesheets() -> None:
    css = """
        @import "more.css";
        @font-face { src: url("f.woff2") format("woff2"), url(f.eot?#iefix) }
        p { background: url( 'a b.png' ); mask: url(#mask); cursor: url(data:image/png;base64,AA==) }
    """
    names = ["more.css", "f.woff2", "f.eot", "a%20b.png"]
    assert of_css(css, "http://site/css/main.css") == [f"http://site/css/{name}" for name in names]


def test_script_references_modules_that_it_imports_by_path() -> None:
    script = 'import"./a.js";import{b}from"../b.js";export*from"/c.js";const d=()=>import("./d.js");import e from "vue"'
    urls = ["http://site/js/a.js", "http://site/b.js", "http://site/c.js", "http://site/js/d.js"]
    assert of_script(script, "http://site/js/main.js") == urls


@pytest.mark.parametrize(
    ("other", "is_same"), [("http://site/x", True), ("https://site/x", False), ("http://site:81/x", False)]
)
def test_origin_is_scheme_host_and_port(other: str, is_same: bool) -> None:
    assert same_origin(PAGE, other) is is_same
