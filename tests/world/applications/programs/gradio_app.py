"""A greeting, a stream of numbers and an upload."""

import gradio as gr
from fastapi import FastAPI


def greet(name):
    return f"Hello {name}"


def count(to):
    for number in range(int(to)):
        yield number + 1


def size(path):
    with open(path, "rb") as file:
        return len(file.read())


with gr.Blocks(title="Greeter") as demo:
    name = gr.Textbox(label="Name", elem_id="name")
    greeting = gr.Textbox(label="Greeting", elem_id="greeting")
    gr.Button("Greet", elem_id="greet").click(greet, name, greeting, api_name="greet")
    to, counted = gr.Number(label="To"), gr.Number(label="Counted")
    to.submit(count, to, counted, api_name="count")
    file, length = gr.File(label="File"), gr.Number(label="Bytes")
    file.upload(size, file, length, api_name="size")

app = gr.mount_gradio_app(FastAPI(), demo, path="/")
