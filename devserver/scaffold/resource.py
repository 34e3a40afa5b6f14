"""Words for a new resource, and sources made for it out of those of the example that the templates have. Pure.

The example, items, is a resource with everything: it is tested in its template, and so is a resource made of it.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from devserver.errors import UsageError

NAME_CHARS_MAX = 20
_VOWELS = frozenset("aeiou")

# item and items, as words, parts of words with capitals, and parts of names with underscores. Not what only happens to
# be called so: dict.items(), and the field "items" of a page.
_EXAMPLE = re.compile(
    r"""
    (?P<article>\b[Aa]n\ )?
    (?: (?P<capital>Item)(?P<capitals>s)?(?![a-z])
      | (?<![A-Za-z]) (?<!\[") (?<!\)\.) (?<!page\.) item(?P<many>s)? (?! [a-z=] | \(\) ) )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Resource:
    """A kind of thing.

    :ivar one: ``order``.
    :ivar many: ``orders``: the name of its modules, tables and paths.
    """

    one: str
    many: str

    @property
    def type_name(self) -> str:
        """``Order``."""
        return "".join(word.capitalize() for word in self.one.split("_"))

    @property
    def type_names(self) -> str:
        """``Orders``."""
        return "".join(word.capitalize() for word in self.many.split("_"))

    @property
    def title(self) -> str:
        """``Orders``, as the first words of a sentence."""
        return self.many.replace("_", " ").capitalize()


def resource_of(text: str) -> Resource:
    """The resource that somebody means: ``orders``, ``order`` or ``Order``.

    :raises UsageError: nothing can be called so.
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).replace("-", "_").lower()
    if not name.isascii() or not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
        raise UsageError(f"{text!r} cannot be a name in Python.", hint="Write one such as orders or order_lines.")
    if len(name) > NAME_CHARS_MAX:
        raise UsageError(f"{text!r} is longer than {NAME_CHARS_MAX} characters.", hint="Take a shorter name.")
    one = _singular(name)
    return Resource(one, name if one != name else _plural(name))


def out_of_example(source: str, resource: Resource) -> str:
    """A source of the example, items, as one of this resource."""

    def replaced(found: re.Match[str]) -> str:
        article = found["article"] or ""
        if article:
            article = article[0] + ("n " if resource.one[0] in _VOWELS else " ")
        if found["capital"] and found["capitals"] and not re.match(r"\w", source[found.start() - 1 : found.start()]):
            # No name of the example is this word alone: it begins a sentence.
            word = resource.title
        elif found["capital"]:
            word = resource.type_names if found["capitals"] else resource.type_name
        else:
            word = resource.many if found["many"] else resource.one
        return article + word

    return _EXAMPLE.sub(replaced, source)


def _singular(name: str) -> str:
    for ending, by in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if name.endswith(ending) and len(name) > len(ending) + 1:
            return name.removesuffix(ending) + by
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) and len(name) > 1 else name


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in _VOWELS:
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
