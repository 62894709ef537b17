"""Ctrl-C is heard, and a process that seems to hang can be asked where it is.

Snakemake's log handler drops a KeyboardInterrupt that reaches the main thread while it writes a
line; the run would go on as if nobody had pressed anything. The signal is sent again until the
executor has begun to cancel.
"""

import faulthandler
import signal
import threading
from types import FrameType
from typing import Any

SECONDS_UNHEARD = 5


def handle_sigint(executor: Any, seconds: float = SECONDS_UNHEARD) -> None:
    """Repeat SIGINT until `executor.cancel` is called or the executor shuts down by itself.

    To be called in the main thread. A run that was started to ignore Ctrl-C (a script's background
    job) goes on ignoring it. SIGUSR1 prints the stack of every thread to stderr.

    Args:
        executor: the executor whose jobs are to be cancelled.
        seconds: how long a signal may go unheard.
    """
    faulthandler.register(signal.SIGUSR1)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return
    pressed, heard = threading.Event(), threading.Event()
    cancel = executor.cancel

    def cancel_and_tell() -> None:
        heard.set()
        cancel()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    def repeat() -> None:
        pressed.wait()
        while not heard.wait(seconds) and executor.wait:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    executor.cancel = cancel_and_tell
    signal.signal(signal.SIGINT, on_interrupt)
    threading.Thread(target=repeat, daemon=True, name="interrupt").start()
