"""Make Ctrl-C reliable, and let the user print the stacks of a process that seems to hang.

Snakemake's log handler drops a KeyboardInterrupt that arrives while it writes a line. The run would
then continue. So the signal is sent again until the executor begins to cancel its jobs.
"""

import faulthandler
import signal
import threading
from types import FrameType
from typing import Any

UNANSWERED_SECONDS = 5


def handle_sigint(executor: Any, seconds: float = UNANSWERED_SECONDS) -> None:
    """Repeat SIGINT until `executor.cancel` is called or the executor shuts down by itself.

    Call this in the main thread. A run that ignores Ctrl-C from the start (a background job of a
    script) still ignores it. SIGUSR1 prints the stack of every thread to stderr.

    Args:
        executor: the executor that cancels the jobs.
        seconds: time without a reaction after which the signal is sent again.
    """
    faulthandler.register(signal.SIGUSR1)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return
    interrupted, cancelling = threading.Event(), threading.Event()
    cancel = executor.cancel

    def cancel_and_stop_repeating() -> None:
        cancelling.set()
        cancel()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.default_int_handler(number, frame)

    def repeat() -> None:
        interrupted.wait()
        while not cancelling.wait(seconds) and executor.wait:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    executor.cancel = cancel_and_stop_repeating
    signal.signal(signal.SIGINT, on_interrupt)
    threading.Thread(target=repeat, daemon=True, name="interrupt").start()
