import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    slider = mo.ui.slider(1, 10, label="How many")
    slider
    return mo, slider


@app.cell
def _(mo, slider):
    mo.md(f"There are **{slider.value * 6}** of them")
    return


if __name__ == "__main__":
    app.run()
