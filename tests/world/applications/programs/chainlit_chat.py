"""A chat that answers every message with the same words, piece by piece."""

import chainlit as cl


@cl.on_chat_start
async def start():
    await cl.Message("Say something").send()


@cl.on_message
async def answer(message):
    reply = cl.Message("")
    for word in ("You ", "said ", message.content):
        await reply.stream_token(word)
    await reply.update()
