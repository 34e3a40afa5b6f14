"""Writes a project of the size that people work on: 40 modules, 200 routes and 120 models, none of them slow."""

from __future__ import annotations

from pathlib import Path

ROUTERS = 20
ROUTES_A_ROUTER = 10
MODEL_MODULES = 15
MODELS_A_MODULE = 8


FIRST, MIDDLE, LAST = "service", f"router_{ROUTERS // 2}", f"router_{ROUTERS - 1}"
"""Modules by the place that they have in the import."""


def write(folder: Path, *, saved: str = FIRST) -> Path:
    """Writes the project, whose app is ``main:app``; returns the module with the number that ``/`` answers with.

    :param saved: name of that module.
    """
    package = folder / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for number in range(MODEL_MODULES):
        (package / f"models_{number}.py").write_text(_models(number))
    for number in range(ROUTERS):
        (package / f"router_{number}.py").write_text(_router(number))
    (package / "settings.py").write_text('"""Settings."""\n\nPAGE_SIZE = 20\n')
    (package / "errors.py").write_text('"""Errors."""\n\n\nclass ShopError(Exception):\n    """Base."""\n')
    (package / "service.py").write_text(
        '"""Some logic."""\n\nfrom shop.settings import PAGE_SIZE\n\nSIZE = PAGE_SIZE\n'
    )
    path = package / f"{saved}.py"
    path.write_text(path.read_text() + "\nNUMBER = 1\n")
    imports = "".join(f"from shop.router_{number} import router as router_{number}\n" for number in range(ROUTERS))
    includes = "".join(
        f'app.include_router(router_{number}, prefix="/r{number}", tags=["r{number}"])\n' for number in range(ROUTERS)
    )
    (folder / "main.py").write_text(
        '"""The app."""\n\nfrom fastapi import FastAPI\n\nfrom shop import service\nfrom shop.errors import ShopError\n'
        f"{imports}from shop.{saved} import NUMBER\n\napp = FastAPI()\n{includes}\nKNOWN = (ShopError, service)\n\n\n"
        '@app.get("/")\ndef index() -> dict[str, int]:\n    """The number."""\n    return {"n": NUMBER}\n'
    )
    return path


def _models(number: int) -> str:
    lines = ['"""Models."""', "", "from datetime import datetime", "", "from pydantic import BaseModel, Field", ""]
    for index in range(MODELS_A_MODULE):
        lines += [
            "",
            f"class Model{number}x{index}(BaseModel):",
            f'    """Model {index}."""',
            "",
            "    id: int",
            '    name: str = Field(max_length=80, description="What people call it.")',
            "    price: float = 0.0",
            "    tags: list[str] = []",
            "    parents: dict[str, int] = {}",
            "    made_at: datetime | None = None",
            "",
        ]
    return "\n".join(lines)


def _router(number: int) -> str:
    module = number % MODEL_MODULES
    names = ", ".join(f"Model{module}x{index}" for index in range(MODELS_A_MODULE))
    lines = [
        '"""Routes."""',
        "",
        "from fastapi import APIRouter, Depends, Query",
        "",
        f"from shop.models_{module} import {names}",
        "from shop.settings import PAGE_SIZE",
        "",
        "router = APIRouter()",
        "",
        "",
        "def paging(limit: int = Query(PAGE_SIZE, le=100), offset: int = 0) -> tuple[int, int]:",
        '    """The part of a list."""',
        "    return limit, offset",
        "",
    ]
    for index in range(ROUTES_A_ROUTER):
        model = f"Model{module}x{index % MODELS_A_MODULE}"
        lines += [
            "",
            f'@router.get("/{index}/{{item_id}}")',
            f"def get_{index}(item_id: int, page: tuple[int, int] = Depends(paging)) -> {model}:",
            f'    """Item {index}."""',
            f"    return {model}(id=item_id, name=str(page))",
            "",
        ]
    return "\n".join(lines)
