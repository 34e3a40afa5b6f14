"""The app is loaded, or a sentence says why not."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devserver.app.asgi2 import Asgi2
from devserver.app.load import load_app
from devserver.app.wsgi import Wsgi
from devserver.config.discovery import find_target
from devserver.config.settings import Config
from devserver.config.target import Target
from devserver.errors import AppLoadError
from tests.support.projects import run_python, write_files

APP = "async def app(scope, receive, send): ...\n"


def load(project: Path, files: Mapping[str, str], app: str | None = "main:app", **options: Any) -> Any:
    write_files(project, files)
    target = find_target(Config(app, **options), project)
    return load_app(target, interface=options.get("interface", "auto"))


def refusal(project: Path, files: Mapping[str, str], app: str | None = "main:app", **options: Any) -> AppLoadError:
    with pytest.raises(AppLoadError) as caught:
        load(project, files, app, **options)
    assert (
        "devserver" not in "".join(frame.path for frame in caught.value.failure.frames)
        if caught.value.failure
        else True
    )
    return caught.value


def test_app_is_found_and_loaded(project: Path) -> None:
    assert load(project, {"main.py": APP}, None).__name__ == "app"
    assert sys.path[0] == str(project)


def test_dotted_attribute_is_followed(project: Path) -> None:
    files = {"main.py": "class Box: ...\nbox = Box()\nasync def app(scope, receive, send): ...\nbox.app = app"}
    assert load(project, files, "main:box.app").__name__ == "app"


def test_object_is_given_back(project: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert load_app(Target(app=app)) is app


def test_factory_makes_the_app(project: Path) -> None:
    files = {"main.py": f"{APP}def create_app(n=1, *, k='x'):\n    app.n, app.k = n, k\n    return app\n"}
    assert load(project, files, "main:create_app", factory=True).n == 1
    assert load(project, files, "main:create_app()").k == "x"
    assert load(project, files, "main:create_app(2, k='y')", factory=True).k == "y"


def test_factory_that_nobody_announced_is_called(project: Path) -> None:
    assert load(project, {"main.py": f"{APP}def make():\n    return app\n"}, "main:make").__name__ == "app"


def test_factory_may_be_a_class(project: Path) -> None:
    files = {"main.py": "class App:\n    async def __call__(self, scope, receive, send): ...\n"}
    assert type(load(project, files, "main:App", factory=True)).__name__ == "App"
    assert type(load(project, files, "main:App()")).__name__ == "App"


def test_factory_object_is_called(project: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert load_app(Target(app=lambda: app, factory=True)) is app


def test_attribute_that_is_not_known_is_found_in_the_module(project: Path) -> None:
    write_files(project, {"main.py": "application = lambda scope, receive, send: None"})
    assert load_app(Target(module="main")).__name__ == "<lambda>"
    write_files(project, {"empty.py": ""})
    with pytest.raises(AppLoadError, match=r"No app found in .*empty\.py: its import leaves no app"):
        load_app(Target(module="empty"))


def test_missing_module_suggests_the_near_one(project: Path) -> None:
    error = refusal(project, {"main.py": APP}, "main2:app")
    expected = f'Could not import "main2:app": no module "main2" in {project}; did you mean "main:app"?'
    assert (str(error), error.failure, error.exit_code) == (expected, None, 3)


def test_missing_module_without_a_near_one_says_what_to_do(project: Path) -> None:
    error = refusal(project, {}, "qqq:app")
    assert str(error) == f'Could not import "qqq:app": no module "qqq" in {project}.'
    assert "--app-dir" in error.hint


def test_missing_submodule_suggests_the_near_one(project: Path) -> None:
    error = refusal(project, {"shop/__init__.py": "", "shop/main.py": APP}, "shop.mian:app")
    assert str(error).endswith('no module "shop.mian" in ' + f'{project}; did you mean "shop.main:app"?')


def test_missing_package_keeps_the_rest_of_the_suggestion(project: Path) -> None:
    error = refusal(project, {"shop/__init__.py": "", "shop/main.py": APP}, "shpo.main:app")
    assert str(error).endswith('did you mean "shop.main:app"?')


def test_missing_attribute_suggests_the_near_one(project: Path) -> None:
    error = refusal(project, {"main.py": APP}, "main:ap")
    assert str(error) == 'Could not load "main:ap": module "main" has no attribute "ap"; did you mean "main:app"?'


def test_missing_attribute_suggests_a_usual_name(project: Path) -> None:
    assert str(refusal(project, {"main.py": APP}, "main:zzzzzz")).endswith('did you mean "main:app"?')


def test_missing_attribute_suggests_a_framework_app(project: Path) -> None:
    files = {"main.py": "from fastapi import FastAPI\nserver = FastAPI()"}
    assert str(refusal(project, files, "main:qqq")).endswith('did you mean "main:server"?')


def test_missing_attribute_of_an_object_says_so(project: Path) -> None:
    files = {"main.py": f"class Box:\n    n = 1\nbox = Box()\n{APP}box.web = app"}
    expected = 'Could not load "main:box.wen": Box object has no attribute "wen"; did you mean "main:box.web"?'
    assert str(refusal(project, files, "main:box.wen")) == expected
    # What is no app is no suggestion.
    assert str(refusal(project, files, "main:box.m")).endswith('did you mean "main:app"?')


def test_property_that_fails_shows_its_own_error(project: Path) -> None:
    files = {"main.py": "class Box:\n    @property\n    def app(self): return self.nothing\nbox = Box()"}
    error = refusal(project, files, "main:box.app")
    assert str(error).startswith('Reading "main:box.app" raised AttributeError: ')
    assert error.failure is not None


def test_module_getattr_that_fails_shows_its_own_error(project: Path) -> None:
    error = refusal(project, {"main.py": "def __getattr__(name): return 1 / 0"})
    assert str(error) == 'Reading "main:app" raised ZeroDivisionError: division by zero (main.py:1)'


def test_not_callable_is_told_by_its_type(project: Path) -> None:
    assert str(refusal(project, {"main.py": "app = 'x'"})) == '"main:app" is not an app but a str: it cannot be called.'


def test_module_instead_of_app_suggests_what_is_inside(project: Path) -> None:
    error = refusal(project, {"shop/__init__.py": "", "shop/app.py": APP, "main.py": "from shop import app"})
    assert (str(error), error.hint) == ('"main:app" is a module, not an app.', 'Did you mean "shop.app:app"?')
    error = refusal(
        project, {"shop2/__init__.py": "", "shop2/app.py": "", "main2.py": "from shop2 import app"}, "main2:app"
    )
    assert error.hint == "shop2.app holds no app either: name the module or file that does."


def test_wsgi_app_is_found_out_and_wrapped(project: Path) -> None:
    assert isinstance(load(project, {"main.py": "def app(environ, start_response): ..."}), Wsgi)
    assert isinstance(load(project, {"main.py": APP}, interface="wsgi"), Wsgi)


def test_asgi2_app_is_wrapped(project: Path) -> None:
    assert isinstance(load(project, {"main.py": "def app(scope): ..."}), Asgi2)
    assert isinstance(load(project, {"main.py": APP}, interface="asgi2"), Asgi2)


def test_missing_package_names_the_line_and_how_to_install(project: Path) -> None:
    error = refusal(project, {"main.py": "import shop_db\n", "shop_db.py": "x = 1\nimport no_such_thing.orm\n"})
    assert str(error) == (
        f'Could not import "main:app": shop_db.py:2 imports "no_such_thing", which is not installed in {sys.prefix}.'
    )
    assert error.hint == "Install it: uv add no-such-thing, or pip install no-such-thing."
    assert error.failure is not None
    assert [Path(frame.path).name for frame in error.failure.frames] == ["main.py", "shop_db.py"]
    assert error.failure.during == "import"


def test_missing_package_is_installed_by_another_name(project: Path) -> None:
    sys.modules.pop("cv2", None)
    assert "uv add opencv-python," in refusal(project, {"main.py": "import cv2.gapi"}).hint


def test_missing_module_of_an_own_package_is_not_to_be_installed(project: Path) -> None:
    error = refusal(project, {"shop/__init__.py": "", "main.py": "from shop.db import x"})
    assert str(error) == 'Could not import "main:app": main.py:1 imports "shop.db", but "shop" has no such module.'
    assert error.hint == ""


def test_module_that_imports_its_own_missing_name_is_not_itself_missing(project: Path) -> None:
    error = refusal(project, {"shop/__init__.py": "import shop.nothing", "shop/main.py": APP}, "shop.main:app")
    assert 'shop/__init__.py:1 imports "shop.nothing"' in str(error)


def test_circular_import_is_recognized(project: Path) -> None:
    files = {
        "main.py": "from shop_a import x\n" + APP,
        "shop_a.py": "from shop_b import y\nx = 1",
        "shop_b.py": "from shop_a import x",
    }
    error = refusal(project, files)
    assert str(error) == (
        'Could not import "main:app": circular import at shop_b.py:1, where "shop_a" is needed before it is complete.'
    )
    assert "third module" in error.hint


def test_circular_attribute_is_recognized(project: Path) -> None:
    files = {
        "main.py": "import shop_c\n" + APP,
        "shop_c.py": "import shop_d\nx = 1",
        "shop_d.py": "import shop_c\nshop_c.x",
    }
    assert "circular import at shop_d.py:2" in str(refusal(project, files))


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        (
            "import shop_e",
            'circular import at shop_e.py:1, where "main" is needed before it is complete',
            "third module",
        ),
        ("from main import app", '"main" and gets itself', "Rename main.py"),
        ("import main\nmain.app", '"main" and gets itself', "Rename main.py"),
    ],
)
def test_incomplete_module_where_the_interpreter_was_started_is_recognized(
    tmp_path: Path, text: str, sentence: str, hint: str
) -> None:
    """Python words its message otherwise there, from 3.13 on; a process of its own is started in the folder."""
    (tmp_path / "main.py").write_text(text)
    (tmp_path / "shop_e.py").write_text("from main import app")
    command = [sys.executable, "-m", "devserver", "run", "main:app", "--no-reload", "--port", "0"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert sentence in ended.stderr
    assert hint in ended.stderr


def test_syntax_error_names_its_line_and_text(project: Path) -> None:
    error = refusal(project, {"main.py": "import shop_s\n", "shop_s.py": "a = 1\ndef f(:\n    pass\n"})
    assert str(error) == 'Could not import "main:app": invalid syntax at shop_s.py:2: "def f(:"'
    assert error.failure is not None
    assert error.failure.frames[-1].line == 2
    assert (0, "      ^") in error.failure.frames[-1].context


def test_exit_at_import_is_an_error_of_the_app(project: Path) -> None:
    error = refusal(project, {"main.py": "import sys\nsys.exit(7)"})
    assert str(error) == 'Could not import "main:app": the program ended itself with sys.exit(7) at main.py:2.'
    assert "__main__" in error.hint
    assert "sys.exit() at" in str(refusal(project, {"quiet.py": "raise SystemExit"}, "quiet:app"))


def test_exception_at_import_is_told_with_its_place(project: Path) -> None:
    error = refusal(project, {"main.py": "def f():\n    return {}['key']\nf()\n"})
    assert str(error) == "Could not import \"main:app\": KeyError: 'key' (main.py:2)"
    assert error.failure is not None
    assert [frame.function for frame in error.failure.frames] == ["<module>", "f"]


def test_base_exception_at_import_is_an_error_of_the_app(project: Path) -> None:
    assert "GeneratorExit" in str(refusal(project, {"main.py": "raise GeneratorExit"}))


def test_interrupt_at_import_passes(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(project, {"main.py": "raise KeyboardInterrupt"})


def test_name_of_the_standard_library_is_explained(project: Path) -> None:
    error = refusal(project, {"logging.py": APP}, "logging.py:app")
    assert str(error) == (
        f'Could not import "logging:app": the name "logging" belongs to {logging.__file__}, '
        f"which hides {project}/logging.py."
    )
    assert error.hint == "Rename logging.py."


def test_factory_that_needs_arguments_says_how_to_give_them(project: Path) -> None:
    error = refusal(project, {"main.py": "def make(settings): ..."}, "main:make", factory=True)
    assert str(error) == "The factory \"main:make\" needs arguments: missing a required argument: 'settings'."
    assert error.hint == "Write the call, with a literal for each argument: 'main:make(settings=...)'"


def test_arguments_that_do_not_fit_are_told(project: Path) -> None:
    error = refusal(project, {"main.py": "def make(settings): ..."}, "main:make(1, 2)")
    assert str(error) == 'The arguments of "main:make(1, 2)" do not fit: too many positional arguments.'


def test_app_with_factory_is_told(project: Path) -> None:
    files = {"main.py": "from fastapi import FastAPI\napp = FastAPI()"}
    error = refusal(project, files, factory=True)
    assert (str(error), error.hint) == (
        '"main:app" is an app already (FastAPI), not a factory.',
        "Leave out --factory.",
    )


def test_factory_that_is_no_function_is_told(project: Path) -> None:
    assert str(refusal(project, {"main.py": "app = 1"}, factory=True)) == '"main:app" is an int: it cannot be called.'


def test_factory_that_raises_is_told_with_its_place(project: Path) -> None:
    error = refusal(project, {"main.py": "def make():\n    raise ValueError('no key')"}, "main:make", factory=True)
    assert str(error) == 'Calling "main:make()" raised ValueError: no key (main.py:2)'
    assert error.failure is not None


def test_factory_that_exits_is_an_error_of_the_app(project: Path) -> None:
    assert "raised SystemExit: 1" in str(
        refusal(project, {"main.py": "def make(): raise SystemExit(1)"}, "main:make()")
    )


def test_factory_that_is_interrupted_passes(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(project, {"main.py": "def make(): raise KeyboardInterrupt"}, "main:make()")


def test_async_factory_is_told(project: Path) -> None:
    error = refusal(project, {"main.py": "async def make(): ..."}, "main:make", factory=True)
    assert str(error).startswith('"main:make" is an async function: a factory must return the app')


@pytest.mark.parametrize(("value", "what"), [("None", "None"), ("{}", "a dict"), ("1", "an int")])
def test_factory_that_returns_no_app_is_told(project: Path, value: str, what: str) -> None:
    error = refusal(project, {"main.py": f"def make(): return {value}"}, "main:make", factory=True)
    assert str(error) == f'"main:make()" returned {what}, not an app.'


def test_factory_without_a_signature_is_simply_called(project: Path) -> None:
    assert "returned a dict" in str(refusal(project, {"main.py": ""}, "builtins:dict", factory=True))


def test_class_of_an_app_is_told(project: Path) -> None:
    error = refusal(project, {"main.py": "from fastapi import FastAPI as app"})
    assert (str(error), error.hint) == (
        '"main:app" is the class FastAPI, not an app made from it.',
        "Use --factory to call it.",
    )


def test_search_path_is_put_first_once(project: Path) -> None:
    write_files(project, {"main.py": APP})
    for _ in range(2):
        load_app(Target(module="main", attribute="app", search_path=""))
    assert sys.path.count(str(project)) == 1


def test_exit_at_import_does_not_end_the_process(tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": "import sys\nsys.exit(0)\n"})
    done = run_python(
        """
        from devserver.app.load import load_app
        from devserver.config.target import Target
        from devserver.errors import AppLoadError
        try:
            load_app(Target(module="main", attribute="app"))
        except AppLoadError as exc:
            print(exc)
        """,
        cwd=tmp_path,
    )
    assert done.stdout == 'Could not import "main:app": the program ended itself with sys.exit(0) at main.py:2.\n'
    assert done.stderr == ""


def test_loaded_asgi2_app_answers(project: Path) -> None:
    app = load(
        project,
        {
            "main.py": "class App:\n    def __init__(self, scope): self.s = scope\n"
            "    async def __call__(self, receive, send): await send(self.s)\n"
        },
        "main:App",
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    asyncio.run(app({"type": "http"}, receive, send))
    assert sent == [{"type": "http"}]
