"""The smallest app: scripts/dev run examples/hello"""

from fastapi import FastAPI

app = FastAPI(title="Hello")


@app.get("/")
async def hello(name: str = "world") -> dict[str, str]:
    """Greets whoever asks."""
    return {"message": f"Hello, {name}!"}
