"""Stand in for `python` in a job: have `fork_server` run the program, and end as the program ends.

    python -I -S fork_client.py PYTHON_FOLDER SOCKET PROGRAM [ARGUMENT …]

Where the server cannot run the program, the client becomes a plain Python. So a job never depends
on the server. The client starts in 20 ms: it imports the standard library alone.
"""

import marshal
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(folder: str, place: str, *arguments: str) -> None:
    """Program entry point.

    Args:
        folder: where `python` stands for this program; left out of the job's PATH.
        place: path of the server's socket.
        arguments: of Python.
    """
    path = os.environ["PATH"].split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(one for one in path if one != folder)
    if arguments and arguments[0].endswith(".py") and os.path.isfile(arguments[0]):  # noqa: PTH113
        try:
            status = status_of_job(place, arguments)
        except (OSError, EOFError, ValueError):
            status = None
        if status is not None:
            end_as(status)
    os.execvp("python", ["python", *arguments])


def status_of_job(place: str, arguments: tuple[str, ...]) -> int | None:
    """Have the server run a program.

    Returns:
        Its status as of waitpid; None if it must run plainly: it has not begun, or the server was
        killed, and the job with it.

    Raises:
        OSError, EOFError, ValueError: no server answered; the program has not begun.
    """
    server = socket.socket(socket.AF_UNIX)
    server.connect(place)
    words = [os.fsencode(one) for one in arguments]
    text = marshal.dumps((words, os.getcwdb(), dict(os.environb)))  # noqa: PTH109 (pathlib is slow)
    waits, begin = os.pipe()
    socket.send_fds(server, [len(text).to_bytes(4, "little")], [0, 1, 2, waits])
    os.close(waits)
    server.sendall(text)
    answers = server.makefile("rb", buffering=0)  # `select` sees what no buffer has taken
    if (answer := marshal.load(answers))[0] != "job":
        return None
    job = os.pidfd_open(answer[1])
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def pass_on(sent: int, _: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended; its status comes
            signal.pidfd_send_signal(job, sent)

    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the job: same process group
    for number in PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    with suppress(BrokenPipeError):  # a signal has ended it before it began
        os.write(begin, b"1")
    while server not in select.select([server, woken], [], [])[0]:
        os.read(woken, 1 << 10)  # a signal just before `select` wakes it, too, and is passed on
    try:
        return marshal.load(answers)[1]
    except (EOFError, ValueError):  # the server was killed, and the kernel kills its jobs
        select.select([job], [], [])
        return None


def end_as(status: int) -> None:
    """End as the job did: with its exit status, or by its signal."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
