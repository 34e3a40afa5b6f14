"""Where things are."""

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import path

from library.models import Book


def books(_: HttpRequest) -> JsonResponse:
    """The titles of all books."""
    return JsonResponse({"books": list(Book.objects.order_by("title").values_list("title", flat=True))})


urlpatterns = [path("", books), path("admin/", admin.site.urls)]
