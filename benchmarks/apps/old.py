"""The WSGI apps that are measured: the smallest, and one view of Django with the middleware of a new project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

GREETING = b"Hello, world!"
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "13")]


def hello(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers every request with 13 bytes."""
    start_response("200 OK", HEADERS)
    return [GREETING]


def __getattr__(name: str) -> Any:
    # Django is there in the environment of the peers, and imported for its own case alone.
    if name == "django_view":
        return _django()
    raise AttributeError(name)


def _django() -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import path

    def item(request: HttpRequest, number: int) -> JsonResponse:
        return JsonResponse({"id": number, "name": request.GET["q"], "tags": ["a", "b", "c"], "price": 9.5})

    def ready(_: HttpRequest) -> HttpResponse:
        return HttpResponse("ready")

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["127.0.0.1"],
            SECRET_KEY="measured",
            ROOT_URLCONF=type("urls", (), {"urlpatterns": [path("", ready), path("items/<int:number>", item)]}),
            MIDDLEWARE=[
                "django.middleware.security.SecurityMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.middleware.clickjacking.XFrameOptionsMiddleware",
            ],
        )
    return get_wsgi_application()
