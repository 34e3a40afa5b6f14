"""Errors as problem details (RFC 9457): one shape for all of them, also in the API's description."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

# feature: db
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

# end
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


class InvalidField(BaseModel):
    """One thing that is wrong with a request, and where. What was sent is not repeated: it may be a password."""

    location: list[str | int]
    message: str
    type: str


class Problem(BaseModel):
    """The members that RFC 9457 names, and `errors` for requests that are not valid."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[InvalidField] | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": {"model": Problem, "description": "The request cannot be done."}}
"""For routers: what any of their routes may answer as well."""


def problem(
    status: int,
    detail: str | None = None,
    *,
    errors: list[InvalidField] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A response that says what went wrong.

    :param detail: a sentence about this occurrence; the title is that of the status.
    """
    body = Problem(title=_title(status), status=status, detail=detail, errors=errors)
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Has the app answer every error this way, and say so in its description."""
    app.add_middleware(TooLargeProblems)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        detail = None if error.detail == _title(error.status_code) else error.detail
        return problem(error.status_code, detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [
            InvalidField(location=list(each["loc"]), message=each["msg"], type=each["type"]) for each in error.errors()
        ]
        return problem(422, "The request is not valid.", errors=fields)

    # feature: db
    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    async def no_database(_: Request, error: DBAPIError) -> JSONResponse:
        # One line, and no traceback: the place in the code says nothing about why the database is away.
        logger.error("The database cannot be used: %s. If a table is missing: alembic upgrade head", error.orig)
        return problem(503, "The database cannot be used now.", headers={"Retry-After": "5"})

    # end
    @app.exception_handler(Exception)
    async def bug(_: Request, __: Exception) -> JSONResponse:
        # Raised again by Starlette once the response is sent: the server logs the traceback.
        return problem(500)

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_media_type(original())
        return app.openapi_schema

    original = app.openapi
    app.openapi = description  # type: ignore[method-assign]


class TooLargeProblems:
    """Puts a problem in the place of the plain text with which a body that is too large is refused.

    Starlette does that when Content-Length says so, whatever the handlers of exceptions answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and _is_plain_refusal(message):
                is_replaced = True
                await problem(message["status"])(scope, receive, send)
            elif not is_replaced:
                await send(message)

        await self.app(scope, receive, send_problem)


def _is_plain_refusal(message: Message) -> bool:
    content_type = Headers(raw=message["headers"]).get("Content-Type", "")
    return message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and content_type.startswith("text/plain")


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _with_media_type(description: dict[str, Any]) -> dict[str, Any]:
    """FastAPI describes every body as `application/json`; those of problems are not."""
    for operations in description.get("paths", {}).values():
        for operation in operations.values():
            for status, response in operation.get("responses", {}).items():
                content = response.get("content", {})
                if status[0] in "45" and "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
    return description
