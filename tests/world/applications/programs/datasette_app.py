"""A database of 2,000 rows."""

import sqlite3
from pathlib import Path

from datasette.app import Datasette

if not Path("shop.db").exists():
    with sqlite3.connect("shop.db") as database:
        database.execute("create table orders (id integer primary key, title text, price real)")
        rows = [(number, f"order {number}", number / 7) for number in range(2000)]
        database.executemany("insert into orders values (?, ?, ?)", rows)
    database.close()
app = Datasette(["shop.db"], settings={"allow_csv_stream": True}).app()
