"""Makes text of the app's safe to show: secrets are masked, control characters made visible.

One redactor serves the terminal, the error page and JSON, so that none of them shows what another hides. It is pure:
text in, text out. What it knows of the process is given to it (:meth:`Redactor.of`), and it must not know who will
read the result.

Three things are masked. Values that stand beside a name that sounds secret (``password="…"``, ``"api_key": "…"``,
``Authorization: …``); text that has the form of a secret wherever it stands (``scheme://user:…@host``, tokens of
well-known issuers, PEM keys); and the values of secret-sounding environment variables. It errs towards hiding: a
masked word costs a look at the source, a shown one may cost a key.

Source lines have rules of their own. ``password = form.password`` says nothing that must be hidden, so only literals
are masked there, while a message ``password=hunter2`` has no quotes to go by.

Line breaks are kept, so that a block of source can be redacted whole and split again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterable, Mapping

from devserver.events import AppFailed, AppRaised, Failure, Frame, RequestsSeen

MASK = "***"

# A message can hold a whole data set. Nobody reads more than a few screens of it.
_MESSAGE_CHARS_MAX = 16_384
_TRACEBACK_CHARS_MAX = 262_144
_CHAIN_LENGTH_MAX = 32


class Redactor:
    """Masks secrets and makes control characters visible.

    :param values: literal values to mask wherever they stand. Those shorter than eight characters are ignored: they
        would mask ordinary words.
    """

    __slots__ = ("_known", "_values")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known = frozenset(value for value in values if len(value) >= 8)
        known = sorted(self._known, key=len, reverse=True)
        self._values = re.compile("|".join(rf"(?<!\w){re.escape(value)}(?!\w)" for value in known)) if known else None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Redactor:
        """A redactor that knows the secrets among these environment variables."""
        values = [value for name, value in environ.items() if is_secret_name(name)]
        for value in environ.values():
            values += [match["password"] for match in _URL.finditer(value) if match["password"]]
        return cls(values)

    def also(self, environ: Mapping[str, str]) -> Redactor:
        """One that knows the secrets among these environment variables, too."""
        return Redactor(self._known | Redactor.of(environ)._known)  # noqa: SLF001 - of its own class

    def variable(self, name: str, value: str) -> str:
        """The value of an environment variable, on one line; for a list of them."""
        if not value:
            return ""
        if is_secret_name(name) or _RANDOM.fullmatch(value):
            return MASK
        # Beside its name, as the rules for text go by names: DSN is masked whole, a URL in its password alone.
        return self.text(value).replace("\n", "\\n").replace("\t", "\\t")

    def text(self, text: str) -> str:
        """A message, a header or any other text of unknown form."""
        text = _mask_unquoted(_mask_quoted(_mask_forms(visible(text))))
        text = _PYDANTIC_INPUT.sub(_mask_pydantic_input, text)
        text = _PYDANTIC_ERROR.sub(_mask_pydantic_error, text)
        return self._mask_values(text)

    def source(self, text: str) -> str:
        """One or more lines of Python source: literals are masked, expressions stay."""
        text = _mask_forms(visible(text))
        # Where literals begin: in "?token=" + token the quote behind the name ends one.
        begins = {match.start() for match in _LITERAL_OR_COMMENT.finditer(text) if match[0][0] != "#"}
        text = _mask_quoted(text, begins)
        # Within literals and comments there is no syntax to go by: connect("host=db password=…").
        text = _LITERAL_OR_COMMENT.sub(lambda match: _mask_unquoted(_mask_quoted(match[0])), text)
        return self._mask_values(text)

    def traceback(self, text: str) -> str:
        """A traceback as Python prints it: messages by the rules for text, source lines by those for source."""
        parts = []
        for is_source, lines in _runs(_tail(text, _TRACEBACK_CHARS_MAX).splitlines()):
            block = "\n".join(lines)
            parts.append(self.source(block) if is_source else self.text(block))
        return "\n".join(parts)

    def failure(self, failure: Failure) -> Failure:
        """The failure with every text in it made safe to show, its causes included."""
        return self._failure(failure, _CHAIN_LENGTH_MAX)

    def app_failed(self, event: AppFailed) -> AppFailed:
        """The event with every text in it made safe to show."""
        failure = None if event.failure is None else self.failure(event.failure)
        message = self.text(_head(event.message, _MESSAGE_CHARS_MAX))
        return AppFailed(message=message, hint=self.text(event.hint), failure=failure)

    def app_raised(self, event: AppRaised) -> AppRaised:
        """The event with every text in it made safe to show."""
        return AppRaised(failure=self.failure(event.failure))

    def requests_seen(self, event: RequestsSeen) -> RequestsSeen:
        """The event with its texts masked."""
        requests = [
            dataclasses.replace(seen, target=self.text(seen.target), notes=tuple(map(self.text, seen.notes)))
            for seen in event.requests
        ]
        return RequestsSeen(tuple(requests), event.more)

    def _failure(self, failure: Failure, links: int) -> Failure:
        cause = self._failure(failure.cause, links - 1) if failure.cause is not None and links else None
        return dataclasses.replace(
            failure,
            kind=visible(failure.kind),
            message=self.text(_head(failure.message, _MESSAGE_CHARS_MAX)),
            frames=tuple(self._frame(frame) for frame in failure.frames),
            cause=cause,
            during=self.text(failure.during),
            traceback=self.traceback(failure.traceback),
        )

    def _frame(self, frame: Frame) -> Frame:
        # The lines around are redacted as one text, because a secret may span several of them.
        numbers = [number for number, _ in frame.context]
        texts = self.source("\n".join(" ".join(text.splitlines()) for _, text in frame.context)).split("\n")
        return dataclasses.replace(
            frame,
            path=visible(frame.path),
            function=visible(frame.function),
            source=self.source(frame.source),
            context=tuple(zip(numbers, texts, strict=True)) if numbers else (),
        )

    def _mask_values(self, text: str) -> str:
        return text if self._values is None else self._values.sub(lambda match: _mask(match[0]), text)


def visible(text: str) -> str:
    """The text without terminal escape sequences, and with every other control character written out.

    Tabs and line breaks stay. Lone surrogates, which stand for bytes that are no UTF-8, cannot be encoded and are
    written out. Characters that reorder text are written out too: they make a line of source read
    otherwise than it runs (CVE-2021-42574).
    """
    return _CONTROL.sub(_write_out, _ESCAPE.sub("", text))


def is_secret_name(name: str) -> bool:
    """Whether something with this name is likely to be a secret: ``API_KEY``, ``dbPassword``, ``x-auth-token``."""
    if name.upper() in _HARMLESS_NAMES:
        return False
    words = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    if not words or (words[-1] in _COUNTS) or (words[0] in _COUNTED and words[-1] in {"token", "tokens"}):
        return False
    if _SECRET_WORDS.intersection(words):
        return True
    joined = "_".join(words)
    if joined in _SECRET_NAMES or joined.endswith(_SECRET_ENDINGS):
        return True
    # STRIPE_KEY=… is a setting; sort_key is a variable.
    return len(words) > 1 and words[-1] == "key" and name.isupper() and words[-2] not in _HARMLESS_KEYS


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_SECRET_WORDS = frozenset(
    "secret secrets password passwords passwd passphrase pwd passcode token credential credentials authorization "
    "apikey dsn cookie cookies jwt bearer sessionid".split()
)
_SECRET_NAMES = frozenset({"session_id", "pass", "db_pass", "api_tokens", "access_tokens", "auth_tokens"})
_SECRET_ENDINGS = (
    *(f"{word}_key" for word in ("api", "secret", "private", "access", "encryption", "signing", "master", "license")),
    *(f"{word}_key" for word in ("ssh", "rsa", "aes", "fernet", "account", "auth", "storage", "webhook")),
    "_pass",
    "session_id",
)
_HARMLESS_KEYS = frozenset({"primary", "foreign", "public", "sort", "partition", "cache", "idempotency", "index"})
_HARMLESS_VALUE = re.compile(r"(?:None|True|False|null|\*\*\*)(?!\w)")
# The shell's working directory is no password.
_HARMLESS_NAMES = frozenset({"PWD", "OLDPWD"})
# What is said about a secret is none: token_type, password_field, cookie_name, max_token.
_COUNTS = frozenset(
    "type types url uri name names field fields class model schema error errors length len count limit expires expired "
    "expiry ttl age seconds minutes hours days path file enabled required policy backend scheme handler invalid".split()
)
_COUNTED = frozenset({"max", "min", "num", "total", "no"})

_ESCAPE = re.compile(
    r"\x1b\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor movements (ECMA-48, 5.4)
    r"|\x1b\][^\x07\x1b\n]*+(?:\x07|\x1b\\)"  # OSC: titles, links, the clipboard
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _write_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


# Every repetition below is possessive or bounded, so that no text takes more than linear time.
_NAME = r"(?<![\w.-])(?P<name>[A-Za-z_][\w.-]*+)"
_STRING = (
    r'"{3}(?s:.*?)(?:"{3}|\Z)'
    r"|'{3}(?s:.*?)(?:'{3}|\Z)"
    r'|"(?:[^"\\\n]|\\.)*+"?'
    r"|'(?:[^'\\\n]|\\.)*+'?"
    r'|\\"[^"\\\n]*+(?:\\")?'  # JSON within a string
)
_LITERAL = re.compile(_STRING)
_LITERAL_OR_COMMENT = re.compile(rf"{_STRING}|#[^\n]*+")
_NAME_OF_LITERAL = re.compile(
    _NAME + r"(?P<gap>(?P<quote>\\?[\"']?)\]?[ \t]*+"
    r"(?::[ \t]*[\w\[\]., |]{1,60}?[ \t]*=(?!=)|[=!]=|:=|=|:|,)\s*+"  # name: str = …, ==, :=, =, name: …, ("name", …)
    r"(?:\(\s*+)?(?:[A-Z]\w{0,40}\((?:default=)?)?)"  # (…, SecretStr(…, Field(default=…
    r"[rRbBfFuU]{0,2}(?=[\"'\\])"
)
_NAME_OF_WORD = re.compile(_NAME + r"(?P<gap>[ \t]?=[ \t]?|:[ \t]*+)(?=[^\s,;&)\]}'\"={%])")
_VALUE_WORD = re.compile(r"(?:(?:Bearer|Basic|Digest|Token)[ \t]+)?[^\s,;&)\]}'\"]++")
_HEADER = re.compile(
    r"\b(?P<head>(?:proxy-authorization|authorization|set-cookie|cookie)[ \t]*+:[ \t]*+)[^\s'\"][^\n'\"]*+",
    re.IGNORECASE,
)
# A pydantic error: the field's path alone on a line, then what is wrong with it, indented.
_PYDANTIC_INPUT = re.compile(
    r"(?P<head>^(?P<where>[\w.\-\[\]]++)\n[ \t][^\n]*?\binput_value=)(?P<value>[^\n]*?)(?P<tail>, input_type=|$)",
    re.MULTILINE,
)
# The same as a list of dicts, which is how FastAPI prints it.
_PYDANTIC_ERROR = re.compile(
    r"(?P<head>'loc': \((?P<where>[^()\n]{0,400})\)[^\n{}]{0,1000}?'input': )"
    r"(?P<value>[^\n]+?)(?P<tail>, 'ctx': |, 'url': |\}|$)"
)

# What nobody would write by hand: keys and tokens under names that do not tell. A path has slashes, a sentence spaces.
_RANDOM = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_+=-]{20,}")

_URL = re.compile(
    r"(?P<head>\b[A-Za-z][A-Za-z0-9+.-]{0,30}+://)(?:(?P<user>[^\s:/?#@'\"<>]{0,256}+):(?P<password>[^\s/'\"<>]{1,512})@"
    r"|(?P<key>[A-Za-z0-9_-]{20,256}+)@)"
)
_FORMS = re.compile(
    r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}"
    r"|\b(?:sk|rk|pk)_(?:live|test)_\w{8,}"
    r"|\bgh[opusr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bwhsec_\w{16,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # a JSON Web Token (RFC 7519)
)
_SCHEME = re.compile(r"\b(?P<head>(?:Bearer|Basic)[ \t]+)(?=[^\s'\"]{0,512}[\d=])[A-Za-z0-9._~+/=-]{8,}")
_PEM = re.compile(
    r"(?P<head>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)(?P<value>(?s:.*?))"
    r"(?P<tail>-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
)


def _mask_forms(text: str) -> str:
    text = _PEM.sub(lambda match: match["head"] + _mask(match["value"]) + match["tail"], text)
    text = _URL.sub(_mask_url, text)
    text = _SCHEME.sub(rf"\g<head>{MASK}", text)
    return _FORMS.sub(MASK, text)


def _mask_url(match: re.Match[str]) -> str:
    user = match["user"]
    return f"{match['head']}{MASK}@" if user is None else f"{match['head']}{user}:{MASK}@"


def _mask_quoted(text: str, begins: Container[int] | None = None) -> str:
    def masked(match: re.Match[str]) -> tuple[str, int] | None:
        # ("token", "x") is a pair; f(token, "x") passes a variable beside a literal.
        listed = match["gap"].lstrip("\\\"'] \t").startswith(",")
        if not is_secret_name(match["name"]) or (listed and not match["quote"]):
            return None
        if begins is not None and match.end() not in begins:
            return None
        literal = _LITERAL.match(text, match.end())
        if literal is None:
            return None
        quote = next(quote for quote in ('"""', "'''", '\\"', '"', "'") if literal[0].startswith(quote))
        inner = literal[0][len(quote) :].removesuffix(quote)
        return (f"{quote}{_mask(inner)}{quote}", literal.end()) if inner else None

    return _rewrite(_NAME_OF_LITERAL, text, masked)


def _mask_unquoted(text: str) -> str:
    text = _HEADER.sub(rf"\g<head>{MASK}", text)

    def masked(match: re.Match[str]) -> tuple[str, int] | None:
        name, begin = match["name"], match.end()
        if not is_secret_name(name) or _HARMLESS_VALUE.match(text, begin):
            return None
        if match["gap"].startswith(":") and not _reads_as_header(name, text[begin : begin + 40].split(None, 1)[0]):
            return None
        word = _VALUE_WORD.match(text, begin)
        return None if word is None else (MASK, word.end())

    return _rewrite(_NAME_OF_WORD, text, masked)


def _rewrite(names: re.Pattern[str], text: str, masked: Callable[[re.Match[str]], tuple[str, int] | None]) -> str:
    """Replaces what follows a name by what ``masked`` returns for it, up to the position that it returns.

    Where it returns None only the name is passed over, because what follows may hold a name and a value itself.
    """
    done = []
    start = search_from = 0
    while match := names.search(text, search_from):
        search_from = match.end()
        if (new := masked(match)) is not None:
            done += [text[start : match.end()], new[0]]
            start = search_from = new[1]
    return "".join((*done, text[start:]))


def _reads_as_header(name: str, value: str) -> bool:
    """Whether ``name: value`` gives a value, or is the beginning of a sentence such as "invalid token: expected …"."""
    if name.lower() in {"password", "passwd", "secret"} or "_" in name or "-" in name:
        return True
    return len(value) >= 16 and any(char.isdigit() for char in value)


def _mask_pydantic_input(match: re.Match[str]) -> str:
    secret = any(is_secret_name(part) for part in match["where"].split("."))
    return f"{match['head']}{MASK}{match['tail']}" if secret else match[0]


def _mask_pydantic_error(match: re.Match[str]) -> str:
    secret = any(is_secret_name(part.strip(" '")) for part in match["where"].split(","))
    return f"{match['head']}{MASK}{match['tail']}" if secret else match[0]


def _mask(value: str) -> str:
    return MASK + "\n" * value.count("\n")


def _runs(lines: Iterable[str]) -> list[tuple[bool, list[str]]]:
    """Lines of a traceback in runs that are source (further in than the ``File`` line above them) or not."""
    runs: list[tuple[bool, list[str]]] = []
    margin = -1
    for line in lines:
        bare = line.lstrip(" |+-")
        indent = len(line) - len(bare)
        if bare.startswith('File "'):
            margin, is_source = indent, False
        else:
            is_source = 0 <= margin < indent
            margin = margin if is_source else -1
        if runs and runs[-1][0] == is_source:
            runs[-1][1].append(line)
        else:
            runs.append((is_source, [line]))
    return runs


def _head(text: str, chars_max: int) -> str:
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}… ({len(text) - chars_max:,} more characters)"


def _tail(text: str, chars_max: int) -> str:
    # The end of a traceback says what happened.
    return text if len(text) <= chars_max else "…" + text[-chars_max:]
