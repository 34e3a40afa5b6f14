"""Says which environment variables are missing or wrong when a class of pydantic-settings refuses to be made.

pydantic tells of fields; whoever starts an app has variables and files. It names them, where each is declared, and
where to put it, and never quotes a value: pydantic's own message holds all that was read. pydantic is known here only
by what the app has imported.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.app.failure import short_path
from devserver.config.env_findings import listed

if TYPE_CHECKING:
    from devserver.events import Failure


class Explained(NamedTuple):
    """What is said in the place of pydantic's words."""

    message: str
    hint: str
    failure: Failure


class _Wrong(NamedTuple):
    variable: str
    why: str
    place: str


def explain_settings(exc: BaseException, failure: Failure, put_in: str) -> Explained | None:
    """One sentence for what is missing and one for what is not valid, a hint, and the failure without values.

    :param exc: what was raised.
    :param failure: the same, folded.
    :param put_in: where a missing variable belongs, such as ``.env``.
    :returns: None when the exception is about something else.
    """
    try:
        wrong = _wrong(exc)
    except Exception:
        # The app's own objects are asked, and pydantic of a version that nobody has tried yet: its own words remain.
        return None
    if not wrong:
        return None
    missing = [each for each in wrong if each.why == "missing"]
    invalid = [each for each in wrong if each.why != "missing"]
    sentences, hint = [], ""
    if missing:
        them = "it" if len(missing) == 1 else "them"
        names = listed([each.variable for each in missing])
        are = "is" if len(missing) == 1 else "are"
        sentences.append(f"{names} {are} missing: declared in {_places(missing)}; put {them} in {put_in}.")
    if invalid:
        names = listed([f"{each.variable} ({each.why})" for each in invalid])
        are = "is" if len(invalid) == 1 else "are"
        sentences.append(f"{names} {are} not valid: declared in {_places(invalid)}.")
        hint = f"dev env why {invalid[0].variable} shows where it is set."
    return Explained(" ".join(sentences), hint, _without_values(exc, failure, wrong))


def _wrong(exc: BaseException) -> list[_Wrong]:
    kind = _settings_class(exc)
    if kind is None:
        return []
    errors = exc.errors(include_url=False, include_context=False, include_input=False)  # type: ignore[attr-defined]
    files = _files(exc)
    return [_Wrong(_variable(kind, each["loc"]), each["type"], _place(kind, each["loc"], files)) for each in errors]


def _settings_class(exc: BaseException) -> Any:
    """The class that the exception is about: that of the object which was being made."""
    base = getattr(sys.modules.get("pydantic_settings"), "BaseSettings", None)
    if base is None or not hasattr(exc, "errors"):
        return None
    found = None
    tb = exc.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_name == "__init__":
            # A class that has an __init__ of its own calls that of its base.
            found = next((type(value) for value in tb.tb_frame.f_locals.values() if isinstance(value, base)), found)
        tb = tb.tb_next
    return found


def _variable(kind: Any, location: tuple[Any, ...]) -> str:
    """The environment variable that a field is read from, as it is usually written."""
    config = kind.model_config
    first, *inner = map(str, location)
    name, field = _field(kind, first)
    aliases = _aliases(field)
    variable = aliases[0] if aliases else f"{config.get('env_prefix') or ''}{name}"
    variable = (config.get("env_nested_delimiter") or ".").join([variable, *inner])
    return variable if config.get("case_sensitive") else variable.upper()


def _field(kind: Any, named: str) -> tuple[str, Any]:
    """The field; pydantic names it by its alias if it has one."""
    fields = kind.model_fields
    if named in fields:
        return named, fields[named]
    return next(((name, field) for name, field in fields.items() if named in _aliases(field)), (named, None))


def _aliases(field: Any) -> list[str]:
    alias = getattr(field, "validation_alias", None)
    choices = getattr(alias, "choices", None) or [alias]
    return [str(getattr(choice, "path", [choice])[0]) for choice in choices if choice is not None]


def _files(exc: BaseException) -> dict[str, str]:
    """Module → file, of the modules on the way to the exception: one that was being imported is gone from
    ``sys.modules``."""
    found = {}
    tb = exc.__traceback__
    while tb is not None:
        found[str(tb.tb_frame.f_globals.get("__name__"))] = tb.tb_frame.f_code.co_filename
        tb = tb.tb_next
    return found


def _place(kind: Any, location: tuple[Any, ...], files: Mapping[str, str]) -> str:
    """``file:line`` of the field, or the name of the class when its source does not tell."""
    name, _ = _field(kind, str(location[0]))
    for owner in kind.__mro__:
        module = sys.modules.get(owner.__module__)
        file = files.get(owner.__module__) or getattr(module, "__file__", None)
        try:
            tree = ast.parse(Path(file).read_bytes()) if file else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
                for statement in node.body:
                    if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name:
                        return f"{short_path(str(file))}:{statement.lineno}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _places(wrong: list[_Wrong]) -> str:
    return listed([*dict.fromkeys(each.place for each in wrong)])


def _without_values(exc: BaseException, failure: Failure, wrong: list[_Wrong]) -> Failure:
    text = "; ".join(f"{each.variable} ({each.why})" for each in wrong)
    before, found, after = failure.traceback.rpartition(str(exc))
    # A traceback that was cut ends in the middle of the message.
    traceback = before + text + after if found else f"{failure.kind}: {text}"
    return dataclasses.replace(failure, message=text, traceback=traceback)
