"""Puts lines where they belong in a Python source. Pure; what is there already is not put there again.

Lines are inserted into the text as it is, at places that its tree names, so that comments and layout stay.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator


class NoPlace(ValueError):
    """It cannot be seen where something belongs."""


def with_import(text: str, module: str, name: str, *, alias: str | None = None, own: Collection[str]) -> str:
    """The source with ``from module import name as alias`` among the imports of its own project, in their order.

    :param own: first parts of the names of modules that are the project's.
    """
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [node for node in imports if isinstance(node, ast.ImportFrom) and _first(node) in own]
    wanted = (name, alias)
    for node in ours:
        if node.module == module and any((each.name, each.asname) == wanted for each in node.names):
            return text
    statement = f"from {module} import {name}" + (f" as {alias}" if alias else "")
    later = next((node for node in ours if (node.module or "") > module), None)
    if later is not None:
        return _inserted(text, later.lineno - 1, [statement])
    if ours:
        return _inserted(text, _end(ours[-1]), [statement])
    if imports:
        # A group of its own, behind the others.
        return _inserted(text, _end(imports[-1]), ["", statement])
    docstring = tree.body[:1] if ast.get_docstring(tree) is not None else []
    lines = ["", statement] if docstring else [statement]
    return _inserted(
        text, _end(docstring[0]) if docstring else 0, [*lines, ""] if tree.body[len(docstring) :] else lines
    )


def with_router(text: str, owner: str, router: str) -> str:
    """The source with ``owner.include_router(router)`` behind the other routers.

    :param owner: the variable that takes them.
    :raises NoPlace: the variable is not made at the top of the module.
    """
    tree = ast.parse(text)
    calls = [node for node in tree.body if _includes(node, owner)]
    if any(_argument(node) == router for node in calls):
        return text
    line = f"{owner}.include_router({router})"
    if calls:
        return _inserted(text, _end(calls[-1]), [line])
    made = next((node for node in tree.body if _assigns(node, owner)), None)
    if made is None:
        raise NoPlace(f"no {owner} is made at the top of it")
    # Behind the routes that the module has itself, but before what it does as a program.
    last = tree.body[-1]
    if _is_main_guard(last):
        return _inserted(text, last.lineno - 1, [line, "", ""])
    is_block = isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return _inserted(text, _end(last), ["", "", line] if is_block else [line])


def with_exported(text: str, name: str) -> str:
    """The source with a name in its ``__all__``, in order; as it is when it has none."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and _assigns(node, "__all__") and isinstance(node.value, ast.List | ast.Tuple):
            items = node.value.elts
            known = [each.value for each in items if isinstance(each, ast.Constant)]
            if name in known:
                return text
            if len({node.value.lineno, *(each.lineno for each in items)}) == 1:
                spelled = ", ".join(f'"{each}"' for each in sorted([*map(str, known), name]))
                return _replaced(text, node.value, f"[{spelled}]")
            later = next((each for each, value in zip(items, known, strict=True) if str(value) > name), None)
            at = later.lineno - 1 if later is not None else _end(items[-1])
            return _inserted(text, at, [f'{" " * items[0].col_offset}"{name}",'])
    return text


def with_yielded(text: str, key: str, value: str) -> str:
    """The source with ``"key": value`` in the dictionary that its lifespan yields.

    :raises NoPlace: there is no such dictionary, of which each entry has a line of its own.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Dict) and node.value.keys:
            keys = [each for each in node.value.keys if isinstance(each, ast.Constant)]
            if any(each.value == key for each in keys):
                return text
            if keys and len({node.value.lineno, *(each.lineno for each in keys)}) == len(keys) + 1:
                return _inserted(text, _end(node.value.values[-1]), [f'{" " * keys[0].col_offset}"{key}": {value},'])
    raise NoPlace("no lifespan in it yields a dictionary")


def prefix_of(text: str, variable: str) -> str:
    """The ``prefix`` that a router is made with; empty when it has none that is written out."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and _assigns(node, variable) and isinstance(node.value, ast.Call):
            for keyword in node.value.keywords:
                if keyword.arg == "prefix" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return ""


def plain_routes(tree: ast.Module, variable: str) -> Iterator[tuple[str, str, int]]:
    """Function, path and status of each route of a router that is a GET with nothing to be filled in."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="get"),
                    args=[ast.Constant(value=str(path))],
                    keywords=keywords,
                ) if name == variable and "{" not in path:
                    given = (each.value for each in keywords if each.arg == "status_code")
                    status = next((each.value for each in given if isinstance(each, ast.Constant)), 200)
                    yield node.name, path, status if isinstance(status, int) else 200


def _first(node: ast.ImportFrom) -> str:
    return "" if node.level else (node.module or "").partition(".")[0]


def _end(node: ast.AST) -> int:
    end = getattr(node, "end_lineno", None)
    if not isinstance(end, int):
        raise AssertionError("ast.parse() gives statements and expressions their lines")
    return end


def _includes(node: ast.stmt, owner: str) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="include_router"))):
            return name == owner
        case _:
            return False


def _argument(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Call(args=[argument, *_])):
            return ast.unparse(argument)
        case _:
            return ""


def _assigns(node: ast.stmt, name: str) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
            return target == name
        case _:
            return False


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _inserted(text: str, at: int, lines: Collection[str]) -> str:
    """The text with lines behind its first ``at`` lines."""
    before = text.splitlines(keepends=True)
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    return "".join([*before[:at], *(f"{line}\n" for line in lines), *before[at:]])


def _replaced(text: str, node: ast.expr, by: str) -> str:
    lines = text.splitlines(keepends=True)
    line = lines[node.lineno - 1].encode()
    end = node.end_col_offset or 0
    lines[node.lineno - 1] = (line[: node.col_offset] + by.encode() + line[end:]).decode()
    return "".join(lines)
