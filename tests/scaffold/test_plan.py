"""From answers to files."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from devserver.errors import DevserverError
from devserver.scaffold.catalog import Catalog, load
from devserver.scaffold.names import names_of
from devserver.scaffold.plan import Answers, plan
from devserver.scaffold.provenance import Provenance
from tests.support.projects import write_files

pytestmark = pytest.mark.once

PUBLISHED = Provenance("1.4.2")
VENDORED = Provenance("1.4.2", "devserver-1.4.2-py3-none-any.whl", b"PK")

FILES = {
    "thing/template.toml": """
        summary = "Something"
        [names]
        acme_shop = "package"
        acme-shop = "project"
        "Acme Shop" = "title"
        ACME_SHOP = "constant"
        [features.db]
        summary = "A database"
        files = ["alembic.ini", "src/acme_shop/models/**"]
        [features.auth]
        summary = "Users"
        needs = ["db"]
        files = ["src/acme_shop/models/users.py", "shared.py"]
        [features.pages]
        summary = "Pages"
        files = ["shared.py"]
        [presets]
        plain = []
        """,
    "thing/pyproject.toml": """
        [project]
        name = "acme-shop"
        dependencies = [
            # feature: db
            "alembic",
            # end
            "devserver",
        ]
        """,
    "thing/src/acme_shop/main.py": "TITLE = 'Acme Shop'  # acme-shop, ACME_SHOP_X, acme_shop\n",
    "thing/src/acme_shop/models/items.py": "items",
    "thing/src/acme_shop/models/users.py": "users",
    "thing/alembic.ini": "",
    "thing/shared.py": "",
    "deploy/template.toml": """
        summary = "Elsewhere"
        names = { acme-shop = "project" }
        [features.docker]
        summary = "An image"
        files = ["Dockerfile"]
        """,
    "deploy/Dockerfile": "FROM x\n# feature: vendored\nCOPY vendor\n# end\n# feature: db\nacme-shop\n# end\n",
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load(write_files(tmp_path, FILES))


def planned(
    catalog: Catalog, *features: str, provenance: Provenance = PUBLISHED, name: str = "My-Cafe"
) -> dict[str, str]:
    answers = Answers(names_of(name), "plain", features)
    return {each.path: each.content.decode() for each in plan(answers, catalog, provenance)}


def test_names_are_replaced_in_paths_and_contents(catalog: Catalog) -> None:
    files = planned(catalog)
    assert files["src/my_cafe/main.py"] == "TITLE = 'My Cafe'  # my-cafe, MY_CAFE_X, my_cafe\n"


def test_name_that_is_itself_a_sentinel_is_not_replaced_twice(catalog: Catalog) -> None:
    assert planned(catalog, name="acme-shop-acme")["src/acme_shop_acme/main.py"] == (
        "TITLE = 'Acme Shop Acme'  # acme-shop-acme, ACME_SHOP_ACME_X, acme_shop_acme\n"
    )


@pytest.mark.parametrize(
    ("features", "files"),
    [
        ("", ""),
        ("db", "alembic.ini src/my_cafe/models/items.py"),
        ("db auth", "alembic.ini shared.py src/my_cafe/models/items.py src/my_cafe/models/users.py"),
        ("pages", "shared.py"),
        ("docker", "Dockerfile"),
    ],
)
def test_files_of_a_feature_come_with_it_and_the_closest_claim_counts(
    catalog: Catalog, features: str, files: str
) -> None:
    always = {"pyproject.toml", "src/my_cafe/main.py"}
    assert set(planned(catalog, *features.split())) == always | set(files.split())


def test_manifest_is_never_part_of_a_project(catalog: Catalog) -> None:
    assert not any("template.toml" in path for path in planned(catalog, "db", "auth", "pages", "docker"))


def test_conditions_of_what_is_laid_over_see_all_features(catalog: Catalog) -> None:
    assert planned(catalog, "docker")["Dockerfile"] == "FROM x\n"
    assert planned(catalog, "docker", "db")["Dockerfile"] == "FROM x\nmy-cafe\n"
    assert planned(catalog, "docker", provenance=VENDORED)["Dockerfile"] == "FROM x\nCOPY vendor\n"


def test_published_devserver_is_asked_for_by_version(catalog: Catalog) -> None:
    project = tomllib.loads(planned(catalog, "db")["pyproject.toml"])
    assert project["project"]["dependencies"] == ["alembic", "devserver>=1.4,<2"]
    assert "tool" not in project


def test_devserver_that_is_not_published_is_kept_in_the_project(catalog: Catalog) -> None:
    files = planned(catalog, provenance=VENDORED)
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["dependencies"] == ["devserver>=1.4,<2"]
    assert project["tool"]["uv"]["sources"]["devserver"] == {"path": "vendor/devserver-1.4.2-py3-none-any.whl"}
    assert files["vendor/devserver-1.4.2-py3-none-any.whl"] == "PK"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"devserver",', "devserver>=1.4,<2"),
        ('"devserver"', "devserver>=1.4,<2"),
        ('"devserver[yaml]",', "devserver[yaml]>=1.4,<2"),
    ],
)
def test_spellings_of_the_dependency(tmp_path: Path, before: str, after: str) -> None:
    sources = "[tool.uv.sources]\nother = { path = '.' }\n"
    text = f"[project]\ndependencies = [\n    {before}\n]\n\n{sources}"
    catalog = load(write_files(tmp_path, {**FILES, "thing/pyproject.toml": text}))
    project = tomllib.loads(planned(catalog, provenance=VENDORED)["pyproject.toml"])
    assert project["project"]["dependencies"] == [after]
    assert list(project["tool"]["uv"]["sources"]) == ["devserver", "other"]


def test_version_before_one_is_asked_for_up_to_one() -> None:
    assert replace(PUBLISHED, version="0.1.0").requirement == "devserver>=0.1,<1"
    assert replace(PUBLISHED, version="2.10").requirement == "devserver>=2.10,<3"


def test_binary_file_is_copied_as_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    contents = {"a.ico": b"acme_shop\0# end\n", "b.bin": b"\xff\xfe acme_shop\n# end\n"}
    for name, content in contents.items():
        (tmp_path / "thing" / name).write_bytes(content)
    files = {each.path: each.content for each in plan(Answers(names_of("x"), "plain"), load(tmp_path), PUBLISHED)}
    assert {name: files[name] for name in contents} == contents


def test_program_stays_one(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / "thing" / "shared.py").chmod(0o755)
    files = plan(Answers(names_of("x"), "plain", ("pages",)), load(tmp_path), PUBLISHED)
    assert [each.path for each in files if each.executable] == ["shared.py"]


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("thing/shared.py", "a\n# end\n", "The template thing is malformed: shared.py, line 2: nothing was opened"),
        ("thing/pyproject.toml", "[project]\n", "pyproject.toml does not depend on devserver"),
    ],
)
def test_malformed_template_is_one_sentence(tmp_path: Path, path: str, text: str, said: str) -> None:
    catalog = load(write_files(tmp_path, {**FILES, path: text}))
    with pytest.raises(DevserverError, match=said):
        planned(catalog, "pages")
