"""A small chat: FastAPI, one WebSocket for each browser."""
