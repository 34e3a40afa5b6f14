"""A failure as a page for browsers.

Every text is escaped, and the Content-Security-Policy allows only the one style sheet and the one script below, by
their hashes: what an exception message says cannot become part of the page even if an escape were forgotten. Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from textwrap import dedent

from devserver.devtools.error_text import chain, headline, markdown, sentence
from devserver.events import AppFailed, AppRaised, Failure, Frame

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #e1e4ea; --text: #1c2330; --soft: #667085; --bad: #c4292f;
  --bad-soft: #fdeeee; --here: #fff1d6; --here-line: #e89a16; --link: #2257b8; --code: #fbfbfd; --good: #1a9a5b; }
@media (prefers-color-scheme: dark) { :root {
  --page: #11141b; --card: #191d27; --line: #2b3140; --text: #e4e8f1; --soft: #939db1; --bad: #ff7a7f;
  --bad-soft: #2c1a20; --here: #3a2f17; --here-line: #e9ae4c; --link: #86b1ff; --code: #141821; --good: #45c98a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
pre, code, .where, .gutter { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 13px; }
header { border-top: 4px solid var(--bad); background: var(--card); border-radius: 8px; padding: 1.4rem 1.6rem;
  box-shadow: 0 1px 3px rgb(0 0 0 / 12%); }
.bar { display: flex; gap: .75rem; align-items: center; color: var(--soft); font-size: 13px; }
.bar .status { color: var(--bad); font-weight: 700; }
.bar .during { overflow-wrap: anywhere; }
.bar button { margin-left: auto; }
button { font: inherit; font-size: 13px; color: var(--text); background: var(--page); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .7rem; cursor: pointer; white-space: nowrap; }
button:hover { border-color: var(--soft); }
h1 { font-size: 1.45rem; line-height: 1.3; margin: .5rem 0 0; overflow-wrap: anywhere; white-space: pre-wrap;
  max-height: 40vh; overflow-y: auto; }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem; overflow-wrap: anywhere; white-space: pre-wrap; }
h2 .kind, h1 .kind { color: var(--bad); }
.label { color: var(--soft); font-size: 13px; margin: 2rem 0 -.5rem; }
.label + h2 { margin-top: .5rem; }
.hint { margin: 1rem 0 0; padding: .6rem .9rem; border-left: 3px solid var(--here-line); background: var(--here);
  border-radius: 4px; overflow-wrap: anywhere; white-space: pre-wrap; }
.frame { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .9rem 0;
  overflow: hidden; }
.frame .where { padding: .5rem .9rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.frame .where:last-child { border-bottom: 0; }
.where b { font-weight: 600; color: var(--link); }
.where i { font-style: normal; color: var(--soft); }
.source { margin: 0; padding: .4rem 0; overflow-x: auto; background: var(--code); }
.source code { display: block; min-width: max-content; padding: 0 .9rem 0 0; border-left: 3px solid transparent;
  white-space: pre; tab-size: 4; }
.source code.here { background: var(--here); border-left-color: var(--here-line); }
.gutter { display: inline-block; width: 4.2em; padding-right: 1em; text-align: right; color: var(--soft);
  user-select: none; }
details { margin: .9rem 0; }
summary { cursor: pointer; color: var(--soft); padding: .2rem 0; }
summary:hover { color: var(--text); }
ol { list-style: none; margin: .3rem 0; padding: 0 0 0 1rem; border-left: 2px solid var(--line); }
ol li { padding: .2rem 0; }
ol pre { margin: 0; color: var(--soft); overflow-x: auto; }
.traceback { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
  overflow-x: auto; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: 13px; display: flex; gap: .6rem; align-items: center; }
.pulse { width: .55rem; height: .55rem; border-radius: 50%; background: var(--good); animation: pulse 1.6s infinite; }
@keyframes pulse { 50% { opacity: .25; } }
@media (prefers-reduced-motion: reduce) { .pulse { animation: none; } }
@media (max-width: 40rem) { main { padding: 1rem .6rem 3rem; } header { padding: 1rem; } }
"""

# The page asks for itself, and is loaded again when it no longer gets the error that it shows. What it gets then may
# be the next error, the app, or a redirect, which "manual" reports as a response without headers.
SCRIPT = """
const shown = document.documentElement.dataset.error;
const button = document.querySelector("button");
button.addEventListener("click", async () => {
  await navigator.clipboard.writeText(document.querySelector("template").content.textContent);
  button.textContent = "Copied";
});
async function look() {
  try {
    const answer = await fetch(location.href, {method: "HEAD", cache: "no-store", redirect: "manual"});
    if (answer.headers.get("x-devserver-error") !== shown) return location.reload();
  } catch {}
  setTimeout(look, 500);
}
if (document.documentElement.dataset.watch) setTimeout(look, 500);
"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The Content-Security-Policy that the page needs."""


def html(failed: AppFailed | AppRaised, *, error_id: str) -> str:
    """The page.

    :param error_id: names the error; the page reloads itself once its URL no longer answers with this one. An
        exception that was raised by one request is not watched, because asking again would run the user's code again.
    """
    watch = isinstance(failed, AppFailed)
    failure = failed.failure
    during = failure.during if failure else ""
    title = sentence(failed) if watch or failure is None else headline(failure)
    parts = [
        "<!doctype html>",
        f'<html lang="en" data-error="{escape(error_id)}"{" data-watch=1" if watch else ""}>',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        # Without an icon of its own, the page would make the browser ask the broken app for one.
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title.partition(chr(10))[0])}</title><style>{STYLE}</style></head>",
        '<body><main><header><div class="bar"><span class="status">500</span>',
        f'<span class="during">{escape(_DURING.get(during, during))}</span>',
        '<button type="button">Copy as Markdown</button></div>',
        f"<h1>{escape(title) if watch or failure is None else _title(failure)}</h1>",
    ]
    if isinstance(failed, AppFailed) and failed.hint:
        parts.append(f'<p class="hint"><b>Hint:</b> {escape(failed.hint)}</p>')
    parts.append("</header>")
    for index, one in enumerate(chain(failure)):
        if index:
            parts.append('<p class="label">caused by</p>')
        if index or watch:
            parts.append(f"<h2>{_title(one)}</h2>")
        parts += _frames(one)
    if failure is not None and failure.traceback:
        parts.append(
            f'<details><summary>Whole traceback</summary><pre class="traceback">{escape(failure.traceback)}</pre>'
        )
        parts.append("</details>")
    if watch:
        parts.append(
            '<footer><span class="pulse"></span>This page reloads itself as soon as a save changes the app.</footer>'
        )
    parts.append(f"</main><template>{escape(markdown(failed))}</template><script>{SCRIPT}</script></body></html>")
    return "\n".join(parts)


_DURING = {"": "", "import": "while importing the app", "startup": "in lifespan startup", "shutdown": "in shutdown"}


def _title(failure: Failure) -> str:
    message = f": {escape(failure.message)}" if failure.message else ""
    return f'<span class="kind">{escape(failure.kind)}</span>{message}'


def _frames(failure: Failure) -> list[str]:
    """The user's frames, most recent call first, and the others folded."""
    recent_first = tuple(reversed(failure.frames))
    parts = [_frame(frame) for frame in recent_first if frame.first_party]
    framework = [frame for frame in recent_first if not frame.first_party]
    if framework:
        parts.append(_folded(framework, is_open=not parts))
    return parts


def _frame(frame: Frame) -> str:
    context = frame.context or (((frame.line, frame.source),) if frame.source else ())
    lines = []
    texts = [] if not context else dedent("\n".join(text.expandtabs(4).rstrip() for _, text in context)).split("\n")
    for (number, _), text in zip(context, texts, strict=True):
        here = ' class="here"' if number == frame.line else ""
        lines.append(f'<code{here}><span class="gutter">{number or ""}</span>{escape(text)}</code>')
    source = f'<pre class="source">{"".join(lines)}</pre>' if lines else ""
    return f'<section class="frame">{_where(frame)}{source}</section>'


def _folded(frames: Sequence[Frame], *, is_open: bool) -> str:
    items = "".join(f"<li>{_where(frame)}<pre>{escape(frame.source)}</pre></li>" for frame in frames)
    label = f"{len(frames)} framework frame{'' if len(frames) == 1 else 's'}"
    return f"<details{' open' if is_open else ''}><summary>{label}</summary><ol>{items}</ol></details>"


def _where(frame: Frame) -> str:
    return f'<div class="where"><b>{escape(frame.path)}:{frame.line}</b> <i>in</i> {escape(frame.function)}</div>'
