"""An MCP server over streamable HTTP, with a tool that reports its progress."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("Calculator")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Count, and report every step."""
    for step in range(to):
        await ctx.report_progress(step + 1, to)
    return "counted"


@server.resource("note://{name}")
def note(name: str) -> str:
    """Return a note."""
    return f"A note about {name}."


app = server.streamable_http_app()
