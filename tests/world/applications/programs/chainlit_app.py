"""A chat below /chat of a FastAPI application."""

from chainlit.utils import mount_chainlit
from fastapi import FastAPI

app = FastAPI()
mount_chainlit(app=app, target="chat.py", path="/chat")
