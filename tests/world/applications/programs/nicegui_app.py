"""A page with a button, an upload and a table, run with FastAPI."""

from fastapi import FastAPI
from nicegui import ui

app = FastAPI()


@ui.page("/")
def index():
    count = ui.label("0 clicks")
    clicks = []

    def add():
        clicks.append(1)
        count.set_text(f"{len(clicks)} clicks")

    ui.button("Click", on_click=add)
    ui.table(columns=[{"name": "title", "label": "Title", "field": "title"}], rows=[{"title": "Ulysses"}])
    ui.markdown("**Bold** words")
    ui.upload(on_upload=lambda _: count.set_text("uploaded"))


ui.run_with(app, title="Clicks", storage_secret="only for this test")
