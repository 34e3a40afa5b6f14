"""Decides what a generator changes in a project: a router, a resource with everything, tests, a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from devserver.errors import UsageError
from devserver.scaffold.catalog import DEFAULT, Catalog
from devserver.scaffold.insertion import (
    NoPlace,
    plain_routes,
    prefix_of,
    with_exported,
    with_import,
    with_router,
    with_yielded,
)
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.project import Project, parse
from devserver.scaffold.provenance import Provenance
from devserver.scaffold.resource import Resource, out_of_example, resource_of

_EXAMPLE = "items"

_ROUTER = '''"""{title}."""

from fastapi import APIRouter

router = APIRouter(prefix="/{path}", tags=["{many}"])


@router.get("")
async def list_{many}() -> list[str]:
    """{title}; there are none yet."""
    return []
'''
_TEST = '''"""{title}, over HTTP."""

from fastapi.testclient import TestClient


def test_{many}_are_listed(client: TestClient) -> None:
    response = client.get("{url}")

    assert response.status_code == 200
    assert response.json() == []
'''
_TEST_OF_FLAT = '''"""{title}, over HTTP."""

from fastapi.testclient import TestClient

from {module} import {app}


def test_{many}_are_listed() -> None:
    with TestClient({app}) as client:
        response = client.get("{url}")

    assert response.status_code == 200
    assert response.json() == []
'''

_HEAD = '''"""{title}, over HTTP."""

from fastapi.testclient import TestClient
'''
_ROUTE_TEST = """def test_{function}_answers(client: TestClient) -> None:
    assert client.get("{url}").status_code == {status}
"""
_HEAD_OF_FLAT = '''"""{title}, over HTTP."""

from fastapi.testclient import TestClient

from {module} import {app}
'''
_ROUTE_TEST_OF_FLAT = """def test_{function}_answers() -> None:
    with TestClient({app}) as client:
        assert client.get("{url}").status_code == {status}
"""


@dataclass(frozen=True)
class Edit:
    """One file, as it is and as it is to be.

    :ivar path: relative to the project, with slashes.
    :ivar before: None when there is no such file.
    """

    path: str
    before: str | None
    after: str


class Edits:
    """Collects what changes; a file that is there is added to, and never replaced."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._edits: dict[str, Edit] = {}

    def make(self, path: Path, content: str) -> None:
        """A file that is to be there; one that is stays as it is."""
        if not (self._project.folder / path).exists():
            self._edits[path.as_posix()] = Edit(path.as_posix(), None, content)

    def change(self, path: Path, change: Callable[[str], str]) -> None:
        """A file that must be there, and gets more."""
        known = self._edits.get(path.as_posix())
        text = known.after if known else parse(self._project.folder / path)[0]
        try:
            after = change(text)
        except NoPlace as exc:
            raise UsageError(
                f"{path} is laid out otherwise than it was made: {exc}.", hint="Write it by hand; nothing was changed."
            ) from exc
        if after != text:
            self._edits[path.as_posix()] = Edit(path.as_posix(), known.before if known else text, after)

    def all(self) -> list[Edit]:
        """What changes, in the order of the paths."""
        return [self._edits[path] for path in sorted(self._edits)]


def router(project: Project, resource: Resource) -> list[Edit]:
    """A router with one route, its test, and the line that includes it.

    :raises UsageError: it cannot be seen where routers are included.
    """
    edits = Edits(project)
    words = {"title": resource.title, "many": resource.many, "path": resource.many.replace("_", "-")}
    routers = _routers(project)
    if routers is not None:
        text, _ = parse(project.folder / routers / "__init__.py")
        edits.make(routers / f"{resource.many}.py", _ROUTER.format(**words))
        url = f"{prefix_of(text, 'router')}/{words['path']}"
        edits.make(Path("tests", f"test_{resource.many}.py"), _TEST.format(url=url, **words))
        _include(edits, project, routers, resource)
        return edits.all()
    beside = project.app_file.parent
    module = ".".join([*([project.module] if project.module else []), resource.many])
    own = {project.module} if project.module else _modules(project.folder / beside)
    edits.make(beside / f"{resource.many}.py", _ROUTER.format(**words))
    app_module = ".".join([*([project.module] if project.module else []), project.app_file.stem])
    test = _TEST_OF_FLAT.format(module=app_module, app=project.app_name, url=f"/{words['path']}", **words)
    edits.make(Path("tests", f"test_{resource.many}.py"), test)
    edits.change(
        project.app_file,
        lambda text: with_router(
            with_import(text, module, "router", alias=f"{resource.many}_router", own=own),
            project.app_name,
            f"{resource.many}_router",
        ),
    )
    return edits.all()


def crud(project: Project, catalog: Catalog, resource: Resource) -> list[Edit]:
    """A resource with routes to list, make, read, change and delete, its store, its models and its tests.

    :raises UsageError: the project is not laid out as the service template is.
    """
    routers = _routers(project)
    if routers is None or project.package is None:
        raise UsageError(
            "--crud needs a project of the template api, or of one that builds on it.",
            hint=f"Without it there is a router with one route: dev add router {resource.many}.",
        )
    edits = Edits(project)
    for path, content in _example(project, catalog):
        edits.make(Path(path.replace(_EXAMPLE, resource.many)), out_of_example(content, resource))
    _include(edits, project, routers, resource)
    if "db" in project.features:
        _register(edits, project, resource)
    else:
        kind = f"Memory{resource.type_names}"
        edits.change(
            project.package / "app.py",
            lambda text: with_yielded(
                with_import(text, f"{project.module}.stores.{resource.many}", kind, own={project.module}),
                resource.many,
                f"{kind}()",
            ),
        )
    return edits.all()


def tests(project: Project, name: str) -> list[Edit]:
    """A test for each route of a router that can be asked without knowing more: GET, and nothing in its path.

    :param name: of the router's module, or of its resource.
    :raises UsageError: there is no such router, or it has no such route.
    """
    routers = _routers(project)
    folder = routers or project.app_file.parent
    resource = resource_of(name)
    found = [each for each in (resource.one, resource.many) if (project.folder / folder / f"{each}.py").is_file()]
    if not found:
        raise UsageError(
            f"There is no router {name}: {folder / resource.many}.py does not exist.",
            hint=f"Make it, with a test: dev add router {resource.many}.",
        )
    text, tree = parse(project.folder / folder / f"{found[0]}.py")
    routes = list(plain_routes(tree, "router"))
    if not routes:
        raise UsageError(
            f"{folder / found[0]}.py has no route that can be asked without knowing more.",
            hint="That is one of @router.get, with no parameter in its path. Write the tests of the others by hand.",
        )
    above = prefix_of(parse(project.folder / routers / "__init__.py")[0], "router") if routers else ""
    prefix = above + prefix_of(text, "router")
    words = [(function, prefix + path or "/", status) for function, path, status in routes]
    head, test = (_HEAD, _ROUTE_TEST) if routers else (_HEAD_OF_FLAT, _ROUTE_TEST_OF_FLAT)
    names = {"module": ".".join([*([project.module] if project.module else []), project.app_file.stem])}
    names |= {"app": project.app_name, "title": found[0].replace("_", " ").capitalize()}
    parts = [
        head.format(**names),
        *(test.format(function=function, url=url, status=status, **names) for function, url, status in words),
    ]
    edits = Edits(project)
    edits.make(Path("tests", f"test_{found[0]}.py"), "\n\n".join(parts))
    return edits.all()


def model(project: Project, catalog: Catalog, resource: Resource) -> list[Edit]:
    """A table, and the import that lets migrations see it.

    :raises UsageError: the project has no database, or none that is laid out as the template's.
    """
    if "db" not in project.features or project.package is None:
        raise UsageError("This project has no database.", hint="Make one that has: dev new NAME --template db.")
    edits = Edits(project)
    for path, content in _example(project, catalog):
        if "/models/" in path:
            edits.make(Path(path.replace(_EXAMPLE, resource.many)), out_of_example(content, resource))
    _register(edits, project, resource)
    return edits.all()


def _example(project: Project, catalog: Catalog) -> Iterable[tuple[str, str]]:
    """The files of the example as they would be in this project."""
    template, _ = catalog.preset(DEFAULT)
    known = catalog.features(template)
    features = catalog.closure(template, [each for each in known if each in project.features])
    for file in plan(Answers(project.names, DEFAULT, features), catalog, Provenance("0.0")):
        if file.path.endswith(f"{_EXAMPLE}.py"):
            yield file.path, file.content.decode()


def _routers(project: Project) -> Path | None:
    """The package of the routers, when it is one that puts them together."""
    if project.package is None or not (project.folder / project.package / "routers" / "__init__.py").is_file():
        return None
    return project.package / "routers"


def _include(edits: Edits, project: Project, routers: Path, resource: Resource) -> None:
    module, alias = f"{project.module}.routers.{resource.many}", f"{resource.many}_router"
    edits.change(
        routers / "__init__.py",
        lambda text: with_router(
            with_import(text, module, "router", alias=alias, own={project.module}), "router", alias
        ),
    )


def _register(edits: Edits, project: Project, resource: Resource) -> None:
    if project.package is None:
        raise AssertionError("whoever calls this has looked")
    module = f"{project.module}.models.{resource.many}"
    edits.change(
        project.package / "models" / "__init__.py",
        lambda text: with_exported(
            with_import(text, module, resource.type_name, own={project.module}), resource.type_name
        ),
    )


def _modules(folder: Path) -> set[str]:
    """Names of the modules and packages that lie in a folder."""
    return {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
