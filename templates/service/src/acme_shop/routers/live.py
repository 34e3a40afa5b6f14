"""Live updates: a WebSocket for those who talk, server-sent events for those who listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated

from anyio import create_task_group, move_on_after
from fastapi import APIRouter, Depends, Header, HTTPException, Response, WebSocket, WebSocketDisconnect, status
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, StringConstraints

# feature: auth
from acme_shop.auth.current_user import (
    CurrentUser,
    find_identity,
    get_current_user,
)
from acme_shop.db import Database

# end
from acme_shop.live.hub import (
    End,
    Hub,
    HubDep,
    Message,
    Subscription,
    TooManyListenersError,
)
from acme_shop.live.origin import is_allowed
from acme_shop.live.pace import Pace
from acme_shop.state import SettingsDep

router = APIRouter(prefix="/live", tags=["live"])

TEXT_CHARS_MAX = 1000
PACE_BURST, PACE_PER_SECOND = 10, 2.0

# Close codes (RFC 6455, section 7.4.1, and the registry of IANA).
UNSUPPORTED, POLICY, TOO_BIG, RESTART, TRY_LATER = 1003, 1008, 1009, 1012, 1013

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARS_MAX)]


class MessageIn(BaseModel):
    text: Text


async def subscription(
    hub: HubDep,
    last_event_id: Annotated[str | None, Header(description="What a browser that comes back sends by itself.")] = None,
) -> AsyncIterator[Subscription]:
    """For the time of a response. That there are too many is known before it begins, and has a status."""
    try:
        with hub.subscribe(after=last_event_id) as found:
            yield found
    except TooManyListenersError:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "Too many listen already.", headers={"Retry-After": "30"}
        ) from None


@router.post("/messages", status_code=status.HTTP_201_CREATED)
async def publish(
    new: MessageIn,
    hub: HubDep,
    # feature: auth
    _: CurrentUser,
    # end
) -> Message:
    """Says something to everybody who listens."""
    return hub.publish(new.text)


@router.get(
    "/events",
    response_class=EventSourceResponse,
    # feature: auth
    dependencies=[Depends(get_current_user)],
    # end
)
async def events(
    subscribed: Annotated[Subscription, Depends(subscription)], settings: SettingsDep
) -> AsyncIterator[ServerSentEvent]:
    """What is said, as server-sent events. A comment every 15 seconds keeps proxies from giving up."""
    # Has the head of the response sent now, and not with the first message.
    yield ServerSentEvent(comment="listening", retry=1000)
    over = asyncio.get_running_loop().call_later(settings.live_connection_s, subscribed.stop, End.CLOSED)
    async for message in subscribed:
        yield ServerSentEvent(data=message, id=message.id)
    over.cancel()


@router.websocket("/socket")
async def socket(websocket: WebSocket, hub: HubDep, settings: SettingsDep) -> None:
    """Takes texts and passes them on; sends what others say, as JSON."""
    if not is_allowed(websocket, settings):
        await websocket.close(POLICY)
        return
    # feature: auth
    database: Database = websocket.state.database
    # Not a dependency: it would keep its connection to the database for as long as the WebSocket is open.
    async with database.sessions() as session:
        identity = await find_identity(websocket, session, settings)
    if identity is None:
        await websocket.close(POLICY)
        return
    # end
    try:
        with hub.subscribe() as subscribed:
            await websocket.accept()
            code = await _talk(websocket, hub, subscribed, settings.live_connection_s)
    except TooManyListenersError:
        await websocket.send_denial_response(Response(status_code=status.HTTP_503_SERVICE_UNAVAILABLE))
        return
    if code is not None:
        await websocket.close(code)


async def _talk(websocket: WebSocket, hub: Hub, subscribed: Subscription, age_s_max: float) -> int | None:
    """Sends and takes until one of both ends. The code to close with; None when the client has gone."""
    code: int | None = RESTART

    async def until_it_ends(work: Callable[[], Awaitable[int | None]]) -> None:
        nonlocal code
        code = await work()
        group.cancel_scope.cancel()

    with move_on_after(age_s_max):
        async with create_task_group() as group:
            group.start_soon(until_it_ends, partial(_send, websocket, subscribed))
            group.start_soon(until_it_ends, partial(_take, websocket, hub))
    return code


async def _send(websocket: WebSocket, subscribed: Subscription) -> int | None:
    try:
        async for message in subscribed:
            await websocket.send_text(message.model_dump_json())
    except WebSocketDisconnect:
        return None
    return TRY_LATER if subscribed.end is End.BEHIND else RESTART


async def _take(websocket: WebSocket, hub: Hub) -> int | None:
    pace = Pace(burst=PACE_BURST, per_second=PACE_PER_SECOND)
    while True:
        event = await websocket.receive()
        if event["type"] == "websocket.disconnect":
            return None
        text: str | None = event.get("text")
        if text is None:
            return UNSUPPORTED
        if len(text) > TEXT_CHARS_MAX:
            return TOO_BIG
        if not pace.allows():
            return POLICY
        if text.strip():
            hub.publish(text.strip())
