"""Projects in the shapes that people give them, started as a newcomer starts them: real processes, and one request.

Each row has the files of a project and the words after ``dev run`` that must serve it; an empty text is none. The words
of a row that begin with ``cd`` are typed in that folder.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.projects import run_python, write_files
from tests.support.reload import Project, serve
from tests.support.server import Program, get, spawned

pytestmark = pytest.mark.once

ROUTE = "\n@app.get('/')\ndef root():\n    return 'served'\n"
APP = f"from fastapi import FastAPI\napp = FastAPI(){ROUTE}"
FLASK = "from flask import Flask\n"
FLASK_ROUTE = "@app.route('/')\ndef root():\n    return 'served'\n"

DJANGO = {
    "manage.py": "import sys\nif __name__ == '__main__':\n    sys.exit(1)\n",
    "mysite/__init__.py": "",
    "mysite/settings.py": "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'mysite.urls'\n",
    "mysite/urls.py": """
        from django.http import HttpResponse
        from django.urls import path
        urlpatterns = [path("", lambda request: HttpResponse("served"))]
    """,
    "mysite/asgi.py": """
        import os
        from django.core.asgi import get_asgi_application
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        application = get_asgi_application()
    """,
    "mysite/wsgi.py": """
        import os
        from django.core.wsgi import get_wsgi_application
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        application = get_wsgi_application()
    """,
}

TEST = "from main import root\ndef test_root():\n    assert root() == 'served'\n"

SHAPES: dict[str, tuple[dict[str, str], list[str]]] = {
    "tutorial": ({"main.py": APP}, ["", "main.py", "main:app"]),
    "package": (
        {"app/__init__.py": "", "app/main.py": f"from app.db import x\n{APP}", "app/db.py": "x = 1"},
        ["", "app/main.py"],
    ),
    "package with relative imports": (
        {"app/__init__.py": "", "app/main.py": f"from .db import x\n{APP}", "app/db.py": "x = 1"},
        ["", "app.main:app"],
    ),
    "folder app without __init__": ({"app/main.py": f"import db\n{APP}", "app/db.py": ""}, ["", "app/main.py"]),
    "src layout": (
        {"pyproject.toml": "", "src/shop/__init__.py": "", "src/shop/main.py": f"from shop.db import x\n{APP}"}
        | {"src/shop/db.py": "x = 1"},
        ["", "shop.main:app"],
    ),
    "src as a folder": ({"src/main.py": f"import db\n{APP}", "src/db.py": ""}, ["", "src/main.py"]),
    "src as a package": (
        {"src/__init__.py": "", "src/main.py": f"from src.db import x\n{APP}", "src/db.py": "x = 1"},
        ["", "src.main:app"],
    ),
    "backend": (
        {"backend/app/__init__.py": "", "backend/app/main.py": f"from app.db import x\n{APP}"}
        | {"backend/app/db.py": "x = 1"},
        ["backend/app/main.py", "backend", "cd backend:", "cd backend/app:main.py"],
    ),
    "backend as a package": (
        {"backend/__init__.py": "", "backend/main.py": f"from backend.db import x\n{APP}", "backend/db.py": "x = 1"},
        ["backend/main.py", "backend", "cd backend:"],
    ),
    "monorepo": (
        {"services/a/main.py": f"import a\n{APP}", "services/a/a.py": "", "services/b/main.py": "raise SystemExit"},
        ["services/a", "services/a/main.py"],
    ),
    "Vercel": ({"api/index.py": APP}, ["api/index.py", "api.index:app"]),
    "Django": (DJANGO, ["mysite.asgi:application", "mysite/asgi.py", "mysite.wsgi"]),
    "Flask": ({"app.py": f"{FLASK}app = Flask(__name__)\n{FLASK_ROUTE}"}, ["", "app.py"]),
    "Flask factory": (
        {
            "wsgi.py": "from shop import create_app\napp = create_app()",
            "shop/__init__.py": f"{FLASK}def create_app(config=None):\n    app = Flask(__name__)\n"
            + "".join(f"    {line}\n" for line in [*FLASK_ROUTE.splitlines(), "return app"]),
        },
        ["", "shop", "shop:create_app()"],
    ),
    "Starlette": (
        {
            "server.py": """
            from starlette.applications import Starlette
            from starlette.responses import PlainTextResponse
            from starlette.routing import Route
            async def root(request):
                return PlainTextResponse("served")
            server = Starlette(routes=[Route("/", root)])
            """
        },
        ["server.py", "server"],
    ),
    "factory": (
        {"main.py": "import fastapi\ndef create_app() -> fastapi.FastAPI:\n    from web import app\n    return app"}
        | {"web.py": APP},
        ["", "main:create_app --factory"],
    ),
    "wrapped": (
        {"main.py": f"from starlette.middleware.gzip import GZipMiddleware\n{APP}app = GZipMiddleware(app)"},
        ["", "main.py"],
    ),
    "mounted": (
        {
            "main.py": "import fastapi\nfrom web import app as web\nouter = fastapi.FastAPI()\nouter.mount('/', web)",
            "web.py": APP,
        },
        ["", "main.py"],
    ),
    "star import": ({"main.py": "from shop.core import *", "shop/core.py": APP}, ["", "main.py"]),
    "bound through globals": ({"main.py": "import web\nglobals()['site'] = web.app", "web.py": APP}, ["", "main.py"]),
    "uvicorn.run": (
        {"main.py": f"import uvicorn\n{APP}if __name__ == '__main__':\n    uvicorn.run('main:app', reload=True)"},
        ["", "main.py"],
    ),
    "uvicorn.run of another": (
        {"main.py": "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('app.web:app')"}
        | {"app/__init__.py": "from .web import app", "app/web.py": APP},
        ["app", "app.web:app"],
    ),
    "package with __main__": (
        {
            "shop/__init__.py": "",
            "shop/__main__.py": "import uvicorn\nuvicorn.run('shop.main:app')",
            "shop/main.py": APP,
        },
        ["shop", "shop/main.py"],
    ),
    "dash": ({"my-app/main.py": APP}, ["my-app", "my-app/main.py", "cd my-app:"]),
    "dash in a file": ({"my-app.py": APP}, ["my-app.py", "my-app:app"]),
    "year": ({"2024/main.py": APP}, ["2024", "2024/main.py"]),
    "space": ({"my app/main.py": APP}, ["'my app'", "'my app/main.py'"]),
    "dot": ({"my.app/__init__.py": "", "my.app/main.py": APP}, ["my.app", "my.app/main.py"]),
    "like a library": ({"fastapi/main.py": APP}, ["fastapi", "fastapi/main.py", "cd fastapi:", "cd fastapi:main:app"]),
    "like a library, with __init__": (
        {"fastapi/main.py": APP, "fastapi/__init__.py": ""},
        ["fastapi", "fastapi/main.py", "cd fastapi:"],
    ),
    "like a module of Python": (
        {"email/__init__.py": "", "email/main.py": APP},
        ["email", "email/main.py", "cd email:main.py"],
    ),
    "beside files like modules of Python": (
        {
            "main.py": f"import types\nimport queue\n{APP}",
            "random.py": "",
            "uuid.py": "",
            "asyncio.py": "",
            "email.py": "",
        }
        | {"platform.py": "", "tempfile.py": "", "httptools.py": "", "watchfiles.py": ""},
        ["", "main.py"],
    ),
}


@contextlib.contextmanager
def dev(project: Path, words: str, *, verb: str = "run", options: str = "--no-reload --port 0") -> Iterator[Program]:
    """``dev`` as its script starts it: without the working directory on ``sys.path``, which ``-m`` alone would add."""
    folder = project
    if words.startswith("cd "):
        inner, _, words = words[3:].partition(":")
        folder = project / inner
    line = [sys.executable, "-P", "-m", "devserver", verb, *shlex.split(words), *shlex.split(options)]
    with spawned(line, folder) as child:
        yield child


@pytest.mark.parametrize("shape", SHAPES)
def test_project_is_served(tmp_path: Path, shape: str) -> None:
    """One process for each shape, with the first words; the others are loaded below."""
    files, forms = SHAPES[shape]
    write_files(tmp_path, files)
    with dev(tmp_path, forms[0], options="--no-reload --port 0 --ui plain") as child:
        answer = child.get("/")
    assert answer.status == 200
    assert b"served" in answer.body


OTHER_WORDS = [(shape, words) for shape, (_, forms) in SHAPES.items() for words in forms[1:]]

# A fork each, so that what one app leaves in the process does not meet the next; the frameworks are imported once.
LOADING = """
import contextlib, io, json, os, shlex, sys
from pathlib import Path
import django, fastapi, flask, starlette.applications
from devserver.app.load import load_app
from devserver.config.discovery import find_target
from devserver.config.settings import Config

for number, (folder, words) in enumerate(json.load(open("projects.json"))):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        continue
    project = Path(folder)
    if words.startswith("cd "):
        inner, _, words = words[3:].partition(":")
        project /= inner
    os.chdir(project)
    app, *options = shlex.split(words) or [None]
    try:
        target = find_target(Config(app, factory="--factory" in options), project)
        load_app(target)
        told = str(target.path)
    except BaseException as exc:
        told = f"{exc} {getattr(exc, 'hint', '')}"
    print(json.dumps([number, told]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Path, str]]:
    """Shape and words -> the project's folder, and the file that was loaded or the error."""
    base = tmp_path_factory.mktemp("shapes")
    folders = [write_files(base / str(number), SHAPES[shape][0]) for number, (shape, _) in enumerate(OTHER_WORDS)]
    work = [[str(folder), words] for folder, (_, words) in zip(folders, OTHER_WORDS, strict=True)]
    (base / "projects.json").write_text(json.dumps(work))
    done = run_python(LOADING, cwd=base, timeout_s=240)
    assert done.returncode == 0, done.stderr
    told = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    return {OTHER_WORDS[number]: (folders[number], text) for number, text in told.items()}


@pytest.mark.parametrize(("shape", "words"), OTHER_WORDS)
def test_project_is_loaded(loaded: dict[tuple[str, str], tuple[Path, str]], shape: str, words: str) -> None:
    folder, told = loaded[shape, words]
    assert told.startswith(str(folder))
    assert Path(told).is_file()


@pytest.mark.parametrize(
    ("mode", "library", "init"),
    [("cold", "fastapi", False), ("fork", "fastapi", True), ("standby", "fastapi", False), ("fork", "email", True)],
)
def test_folder_like_a_library_is_reloaded(tmp_path: Path, library: str, mode: str, init: bool) -> None:
    project = Project(tmp_path / library, mode=mode)
    project.write("main.py", f"import db\n{APP.replace(repr('served'), 'db.text')}")
    project.write("db.py", "text = 'one'")
    if init:
        project.write("__init__.py", "")
    with serve(project, None) as session:
        session.wait_body('"one"')
        project.write("db.py", "text = 'two, after a save'")
        session.wait_body('"two, after a save"')


@pytest.mark.parametrize("mode", ["cold", "fork", "standby"])
def test_app_that_only_the_import_shows_may_change_its_name(tmp_path: Path, mode: str) -> None:
    project = Project(tmp_path / "project", mode=mode)
    project.write("main.py", "from core import *")
    project.write("core.py", f"{APP}globals()['site'] = globals().pop('app')")
    with serve(project, "main.py") as session:
        session.wait_body('"served"')
        project.write("core.py", f"{APP.replace('served', 'saved')}globals()['page'] = globals().pop('app')")
        session.wait_body('"saved"')


@pytest.mark.parametrize("mode", ["cold", "fork", "standby"])
def test_files_like_modules_of_the_server_do_not_stop_a_reload(tmp_path: Path, mode: str) -> None:
    project = Project(tmp_path / "project", mode=mode)
    for name in ("random", "uuid", "asyncio", "email", "platform", "tempfile", "datetime", "uvloop", "httptools"):
        project.write(f"{name}.py", "raise RuntimeError('not this one')")
    project.write("main.py", APP)
    with serve(project, environment={"PYTHONSAFEPATH": "1"}) as session:
        session.wait_body('"served"')
        project.write("main.py", APP.replace("served", "saved"))
        session.wait_body('"saved"')


@pytest.mark.parametrize("words", ["fastapi/main.py", "fastapi", "cd fastapi:"])
def test_other_commands_find_the_same(tmp_path: Path, words: str) -> None:
    write_files(tmp_path, {"fastapi/main.py": APP, "fastapi/__init__.py": "", "fastapi/test_it.py": TEST})
    with dev(tmp_path, words, verb="routes", options="") as child:
        assert child.wait() == 0
        assert "root" in child.whole_text()
    with dev(tmp_path, words, verb="doctor", options="") as child:
        child.wait()
        assert "cannot be" not in child.whole_text()
        assert "main:app" in child.whole_text() or "error" not in child.whole_text()
    port = free_port()
    with dev(tmp_path, words, verb="prod", options=f"--port {port}") as child:
        child.wait_text("running on")
        assert get(port).body == b'"served"'


def test_tests_of_such_a_folder_run(tmp_path: Path) -> None:
    write_files(tmp_path, {"fastapi/main.py": APP, "fastapi/test_it.py": TEST})
    with dev(tmp_path, "cd fastapi:", verb="test", options="-q -p no:cacheprovider") as child:
        assert child.wait() == 0, child.whole_text()
        assert "1 passed" in child.whole_text()
