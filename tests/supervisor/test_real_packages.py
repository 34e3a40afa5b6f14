"""Packages that many apps import, in a process that is forked: they stay warm, and work in the fork."""

from __future__ import annotations

import pytest

from tests.support.reload import Project, answering, serve

pytestmark = pytest.mark.once

PACKAGES = {
    "numpy": ("numpy", "float((numpy.ones((400, 400)) @ numpy.ones((400, 400))).sum())", "64000000.0"),
    "pandas with pyarrow": (
        "pandas, pyarrow",
        "pandas.Series(['a', 'b'], dtype='string[pyarrow]').str.upper().tolist()",
        "['A', 'B']",
    ),
    "pyarrow": ("pyarrow, pyarrow.compute", "pyarrow.compute.sum(pyarrow.array(range(100000))).as_py()", "4999950000"),
    "polars": (
        "polars",
        "polars.DataFrame({'a': range(100000)}).lazy().select(polars.col('a').sum()).collect().item()",
        "4999950000",
    ),
    "SQLAlchemy": (
        "sqlalchemy",
        "sqlalchemy.create_engine('sqlite://').connect().execute(sqlalchemy.text('select 1')).scalar()",
        "1",
    ),
    "sentry-sdk": ("sentry_sdk", "sentry_sdk.capture_message('x')", "None"),
    "opentelemetry": (
        "opentelemetry.trace, opentelemetry.sdk.trace",
        "opentelemetry.sdk.trace.TracerProvider().get_tracer('x').start_span('y').name",
        "y",
    ),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_warm_and_works(project: Project, name: str) -> None:
    imported, expression, value = PACKAGES[name]
    first = imported.partition(",")[0].partition(".")[0]
    before = f"import sys\nwarm = {first!r} in sys.modules\nimport {imported}\n"
    source = answering(f"'{{}} {{}}'.format(warm, {expression})", before=before)
    project.write("main.py", source)
    with serve(project) as session:
        assert session.get().body == f"False {value}"
        for number in (1, 2):
            project.replace("main.py", source + f"# {number}")
            assert session.wait("Reloaded", number)["mode"] == project.mode
            told = session.named("Notice")
            assert session.get().body == f"{project.mode != 'cold'} {value}", told
        assert [event["text"] for event in session.named("Notice") if event["level"] != "debug"] == []
