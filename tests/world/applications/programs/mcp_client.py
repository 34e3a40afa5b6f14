"""An MCP client that lists and calls tools, hears of progress and reads a resource; in both ways to connect."""

import asyncio
import json
import sys

from mcp.client.client import Client


async def session(url, mode):
    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total])

    async with Client(f"{url}/mcp", mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        added = (await client.call_tool("add", {"a": 2, "b": 3})).structured_content
        counted = await client.call_tool("count", {"to": 3}, progress_callback=on_progress)
        note = (await client.read_resource("note://tea")).contents[0].text
        return [tools, added, counted.content[0].text, progress, note]


async def main(url):
    print(json.dumps([await session(url, mode) for mode in ("legacy", "auto")]))


asyncio.run(main(sys.argv[1]))
