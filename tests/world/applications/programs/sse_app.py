"""A page of htmx and server-sent events: a list that grows, a stream that ends, and one that the client leaves."""

import asyncio

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from sse_starlette.sse import EventSourceResponse

PAGE = """<!doctype html><title>Ticks</title><ul id=ticks></ul><button>Add</button>
<script>
new EventSource("/ticks").onmessage = e => {
  document.querySelector("#ticks").insertAdjacentHTML("beforeend", "<li>" + e.data + "</li>")
  if (e.data == "3") e.target.close()
}
document.querySelector("button").onclick = async () =>
  document.querySelector("#ticks").insertAdjacentHTML("beforeend", await (await fetch("/add", {method: "POST"})).text())
</script>"""
left = []


async def page(request):
    return HTMLResponse(PAGE)


async def add(request):
    return HTMLResponse(f"<li>{request.headers.get('hx-request', 'added')}</li>")


async def ticks(request):
    async def source():
        for number in range(1, 4):
            yield {"data": str(number), "id": str(number), "event": "message"}

    return EventSourceResponse(source())


async def endless(request):
    async def source():
        try:
            for number in range(1_000_000):
                yield {"data": str(number)}
                await asyncio.sleep(0.01)
        finally:
            left.append("left")

    return EventSourceResponse(source())


async def departures(request):
    return JSONResponse(left)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/add", add, methods=["POST"]),
        Route("/ticks", ticks),
        Route("/endless", endless),
        Route("/departures", departures),
    ]
)
