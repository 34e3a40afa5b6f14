"""URLs that a page makes a browser fetch: from HTML, CSS and JavaScript text, without any I/O.

Scripts are searched with a pattern, not parsed: a string that only looks like an import is fetched too, which does no
harm. URLs that a script computes are not found; only a browser fetches those.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

_CSS_URL = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^'")\s]*))\s*\)""")
_CSS_IMPORT = re.compile(r"""@import\s+(?:"([^"]*)"|'([^']*)')""")
_SCRIPT_IMPORT = re.compile(r"""\b(?:import|from)\s*\(?\s*["']((?:\.{0,2}/)[^"'\s]*)["']""")
# What a browser fetches without a click; `canonical`, `alternate` and the like name other pages.
_FETCHED_RELS = frozenset(
    {"stylesheet", "icon", "apple-touch-icon", "mask-icon", "modulepreload", "preload", "prefetch", "manifest"}
)
_SOURCES = frozenset({"script", "img", "source", "video", "audio", "track", "embed", "iframe"})


def of_html(text: str, url: str) -> list[str]:
    """Return the absolute URLs of everything that the page ``text`` at ``url`` references, each once, in order."""
    parser = _Page(url)
    parser.feed(text)
    parser.close()
    return _absolute(parser.found, parser.base)


def of_css(text: str, url: str) -> list[str]:
    """Return the absolute URLs of fonts, images and other stylesheets that the stylesheet at ``url`` references."""
    return _absolute([next(filter(None, match.groups()), "") for match in _css_matches(text)], url)


def of_script(text: str, url: str) -> list[str]:
    """Return the absolute URLs of modules that the script at ``url`` imports by a path, at its start or later."""
    return _absolute(_SCRIPT_IMPORT.findall(text), url)


def same_origin(url: str, other: str) -> bool:
    """Return true when both URLs have the same scheme, host and port."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def _css_matches(text: str) -> list[re.Match[str]]:
    return [*_CSS_IMPORT.finditer(text), *_CSS_URL.finditer(text)]


def _absolute(found: list[str], base: str) -> list[str]:
    given = (reference.strip().replace(" ", "%20") for reference in found if _is_fetched(reference))
    urls = (urldefrag(urljoin(base, reference)).url for reference in given)
    return list(dict.fromkeys(urls))


def _is_fetched(reference: str) -> bool:
    # A fragment alone points into the document itself.
    return bool(reference.strip()) and not re.match(r"\s*(#|data:|blob:|javascript:|about:)", reference)


class _Page(HTMLParser):
    """References in the order in which they stand in a page.

    :ivar base: the URL that relative references start from: the page's own, or that of its ``base`` element.
    """

    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.base = url
        self.found: list[str] = []
        self._inside = ""
        """Kind of the element whose text is read: "css", "importmap", "module" or none."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "base" and "href" in values:
            self.base = urljoin(self.base, values["href"])
        elif tag == "link" and _FETCHED_RELS & set(values.get("rel", "").lower().split()):
            self.found.append(values.get("href", ""))
        elif tag in _SOURCES:
            self.found.append(values.get("src", ""))
        elif tag in {"use", "image"}:
            self.found.append(values.get("href", values.get("xlink:href", "")))
        if "srcset" in values:
            self.found += [candidate.split()[0] for candidate in values["srcset"].split(", ") if candidate.split()]
        if "style" in values:
            self._add_css(values["style"])
        self._inside = ""
        if tag == "style":
            self._inside = "css"
        elif tag == "script" and "src" not in values:
            self._inside = values.get("type", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        match self._inside:
            case "css":
                self._add_css(data)
            case "module":
                self.found += _SCRIPT_IMPORT.findall(data)
            case "importmap":
                self.found += _importmap_urls(data)

    def _add_css(self, text: str) -> None:
        self.found += [next(filter(None, match.groups()), "") for match in _css_matches(text)]


def _importmap_urls(text: str) -> list[str]:
    try:
        imports = json.loads(text).get("imports", {})
    except (ValueError, AttributeError):
        return []
    # A URL that ends in a slash is a prefix, which nothing fetches as it is.
    return [url for url in imports.values() if isinstance(url, str) and not url.endswith("/")]
