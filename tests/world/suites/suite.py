"""The suites that are driven over a socket: which release, which tests, and by which driver."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The test suite of another project.

    :param name: the name on the command line and in the list of expected differences.
    :param distribution: the name on PyPI. The version is the one in the checkout's environment.
    :param package: the importable package, whose files must be the same in the archive and in the environment.
    :param group: the dependency group of its ``pyproject.toml`` that its tests need; empty for none.
    :param reference: the server that ours is compared with.
    :param runner: ``pytest``, or ``django`` for Django's own.
    :param arguments: what is run, as the runner takes it.
    :param bounded: what a bounded run runs; nothing when empty.
    """

    name: str
    distribution: str
    package: str
    group: str
    reference: str = "uvicorn"
    runner: str = "pytest"
    arguments: tuple[str, ...]
    bounded: tuple[str, ...] = ()


SUITES = (
    Suite(
        name="starlette",
        distribution="starlette",
        package="starlette",
        group="dev",
        arguments=("tests",),
        # That module tests the TestClient, which is replaced; and it waits a lot.
        bounded=("tests", "--ignore=tests/test_testclient.py"),
    ),
    Suite(
        name="fastapi",
        distribution="fastapi",
        package="fastapi",
        group="tests",
        # Benchmarks measure FastAPI, and say nothing about a server.
        arguments=("tests", "--ignore=tests/benchmarks", "--ignore=tests/memory_benchmarks"),
        # One module or more for every kind of fault that a server can have.
        bounded=(
            "tests/test_dependency_after_yield_streaming.py",
            "tests/test_dependency_after_yield_websockets.py",
            "tests/test_dependency_contextmanager.py",
            "tests/test_dependency_yield_scope.py",
            "tests/test_dependency_yield_scope_websockets.py",
            "tests/test_frontend.py",
            "tests/test_header_cookie_optional_models.py",
            "tests/test_request_body_limits.py",
            "tests/test_request_params/test_file",
            "tests/test_request_params/test_header",
            "tests/test_security_websockets.py",
            "tests/test_sse.py",
            "tests/test_stream_cancellation.py",
            "tests/test_tutorial/test_background_tasks",
            "tests/test_tutorial/test_behind_a_proxy",
            "tests/test_tutorial/test_events",
            "tests/test_tutorial/test_header_params",
            "tests/test_tutorial/test_request_files",
            "tests/test_tutorial/test_request_forms_and_files",
            "tests/test_tutorial/test_server_sent_events",
            "tests/test_tutorial/test_static_files",
            "tests/test_tutorial/test_stream_data",
            "tests/test_tutorial/test_websockets",
            "tests/test_upload_file_read_position.py",
            "tests/test_ws_dependencies.py",
            "tests/test_ws_router.py",
        ),
    ),
    Suite(
        name="django",
        distribution="Django",
        package="django",
        group="",
        reference="django",
        runner="django",
        # Those that make requests, as far as the database and the browser are not what is tested.
        arguments=(
            "conditional_processing",
            "csrf_tests",
            "file_uploads",
            "generic_views",
            "handlers",
            "middleware",
            "servers",
            "sessions_tests",
            "staticfiles_tests.test_liveserver",
            "test_client",
            "test_client_regress",
            "view_tests",
            "wsgi",
        ),
        bounded=("handlers", "servers", "staticfiles_tests.test_liveserver", "wsgi"),
    ),
    Suite(
        name="django-asgi",
        distribution="Django",
        package="django",
        group="",
        runner="django",
        arguments=("asgi",),
        bounded=("asgi",),
    ),
)
"""In the order in which they run."""
