"""What holds for every test, wherever it is started from."""

from __future__ import annotations

import signal

# A background job of a non-interactive shell ignores INT and QUIT, and one under nohup HUP. Every process that a test
# starts inherits that, and a Python that starts with INT ignored never raises KeyboardInterrupt.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
