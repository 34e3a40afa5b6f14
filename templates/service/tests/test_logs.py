"""Logs of production are objects, one a line."""

import json
import logging
import sys

from acme_shop.logs import AddRequestId, JsonFormatter, request_id


def line_of(record: logging.LogRecord) -> dict[str, object]:
    AddRequestId().filter(record)
    entry: dict[str, object] = json.loads(JsonFormatter().format(record))
    return entry


def test_entry_has_the_request_and_what_was_added() -> None:
    token = request_id.set("abc")
    record = logging.makeLogRecord({"msg": "Sold %d", "args": (3,), "levelname": "INFO", "item": "tea"})
    entry = line_of(record)
    request_id.reset(token)

    assert (entry["message"], entry["level"], entry["request_id"], entry["item"]) == (
        "Sold 3",
        "INFO",
        "abc",
        "tea",
    )


def test_entry_of_an_exception_is_one_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.makeLogRecord({"msg": "Failed", "exc_info": sys.exc_info()})

    AddRequestId().filter(record)
    text = JsonFormatter().format(record)

    assert "\n" not in text
    assert "ValueError: first\nsecond" in json.loads(text)["exception"]
