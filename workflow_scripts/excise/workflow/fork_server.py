"""Run programs in forked copies of a Python that has imported other people's packages already.

    python fork_server.py SOCKET        # file descriptor of a listening Unix socket

`forking` starts it from Snakemake. It runs as a file of its own and imports no module of `excise`:
a job must find our code as it is on disk when the job starts. `fork_client` speaks to it:

1. The client sends (arguments, folder, environment), its three standard streams, and a pipe.
2. The server answers ("plain",) if the job needs a Python of its own. Otherwise it forks, and the
   fork answers ("job", process id).
3. The client prepares to pass on signals, and writes to the pipe. Only then the program begins: a
   signal before ends the client, and the fork with it.
4. At the end of the job the server sends ("end", status), as of waitpid.

If the client ends first, the server kills the job. If the server ends, the kernel kills the jobs.
If its stdin closes, Snakemake has ended: the server starts no more jobs and waits for the rest.
"""

import builtins
import copy
import ctypes
import gc
import importlib
import importlib.machinery
import json
import logging
import marshal
import os
import selectors
import signal
import socket
import sys
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DRAFT = "EXCISE_JOB"  # excise.provenance.DRAFT
IMPORTS, PROCESSES = "imports.json", "processes"  # excise.workflow.forking
FREE = {"_", "SHLVL", "PWD", "OLDPWD", "PS1"}
"""Variables that bash sets or drops; those that begin with EXCISE_ are free, too. Any other
difference between the server's environment and a job's could act at the start of a Python."""

DISPENSABLE = {"jemalloc_bg_thd"}
"""Threads that a forked process can lack: jemalloc (pyarrow loads it, and allocates with mimalloc)
does without its background thread after a fork, by its own handlers."""

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

Edges = dict[str, set[str]]
"""Package → packages that it imported."""


# --- packages that were imported before the fork ---


class Shelf:
    """Packages that the server imported and the job has not asked for yet.

    A job starts with the modules of a fresh Python. Its first import of a package brings back the
    package and those that it imported. So `sys.modules` names what the program uses, as the records
    of versions need it.

    Args:
        edges: which package imported which.
        fresh: names of the modules of a fresh Python.
    """

    def __init__(self, edges: Edges, fresh: Iterable[str]):
        self.edges = edges
        self.modules: defaultdict[str, dict[str, types.ModuleType]] = defaultdict(dict)
        for name in [name for name in sys.modules if name not in fresh]:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names:
                self.modules[top][name] = sys.modules.pop(name)
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: object = None, target: object = None):
        """Find a module on the shelf; a mere look (`importlib.util.find_spec`) leaves it there."""
        module = self.modules.get(name.partition(".")[0], {}).get(name)
        if module is None:
            return None
        spec = copy.copy(module.__spec__) or importlib.machinery.ModuleSpec(name, None)
        spec.loader, spec.loader_state = self, module.__spec__
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Bring back a module's package, and all packages behind it."""
        waiting = [spec.name.partition(".")[0]]
        while waiting:
            top = waiting.pop()
            if top in self.modules:
                sys.modules.update(self.modules.pop(top))
                waiting += self.edges.get(top, ())
        return sys.modules[spec.name]

    def exec_module(self, module: types.ModuleType) -> None:
        """Undo what the import changed: the module ran before the fork."""
        module.__spec__ = module.__spec__.loader_state


@contextmanager
def noting_imports(edges: Edges) -> Iterator[None]:
    """Add to `edges` which package imports which in this block."""
    plain_import, plain_import_module = builtins.__import__, importlib.import_module

    def note(importer: dict | None, name: str) -> None:
        edges[(importer or {}).get("__name__", "").partition(".")[0]].add(name.partition(".")[0])

    def noting_import(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0:
            note(globals, name)
        return plain_import(name, globals, locals, fromlist, level)

    def noting_import_module(name, package=None):
        if not name.startswith("."):
            note(sys._getframe(1).f_globals, name)
        return plain_import_module(name, package)

    builtins.__import__, importlib.import_module = noting_import, noting_import_module
    try:
        yield
    finally:
        builtins.__import__, importlib.import_module = plain_import, plain_import_module


@contextmanager
def without_kernels() -> Iterator[None]:
    """Keep bitsandbytes from downloading a kernel and from a warning, as excise.modeling does."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    sys.modules["kernels"] = None
    try:
        yield
    finally:
        del sys.modules["kernels"]


# --- the server ---


@dataclass
class Request:
    """A job that a client asks for."""

    arguments: list[str]  # of Python: the program, then its own
    folder: str
    environment: dict[bytes, bytes]
    streams: list[int]
    begin: int
    client: socket.socket

    @property
    def draft(self) -> Path:
        """The unfinished record of the job; other files about the job lie beside it."""
        return Path(os.fsdecode(self.environment[DRAFT.encode()]))


class Server:
    """Imports packages, forks, and tells the clients how their jobs end."""

    def __init__(self, listening: socket.socket):
        self.listening = listening
        self.process = os.getpid()
        self.fresh = set(sys.modules)
        self.environment = dict(os.environb)
        self.edges: Edges = defaultdict(set)
        self.imported: set[str] = set()
        self.fit = True
        self.said = False
        self.jobs: dict[int, tuple[int, socket.socket]] = {}  # process id → its handle, its client
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ, self.accept)
        self.selector.register(0, selectors.EVENT_READ, self.drain)

    def serve(self) -> Request | None:
        """Serve until Snakemake ends (None); in each forked process, return its job."""
        while self.selector.get_map():
            for key, _ in self.selector.select():
                if (request := key.data()) is not None:
                    return request
        return None

    def drain(self) -> None:
        """Snakemake has ended: take no more jobs. Those that run see it themselves (lifeline)."""
        self.selector.unregister(0)
        self.selector.unregister(self.listening)
        self.listening.close()

    def accept(self) -> Request | None:
        """Take a job from a client and fork. Returns the job in the forked process."""
        client, _ = self.listening.accept()
        try:
            request = receive(client)
        except (OSError, EOFError, ValueError, TypeError):
            client.close()
            return None
        job = self.fork_for(request)
        if job == 0:
            self.leave_to(request)
            return request
        for handle in (*request.streams, request.begin):
            os.close(handle)
        if job is None:
            client.close()  # the client, if it is still there, runs the program itself
        else:
            self.watch(job, client)
        return None

    def fork_for(self, request: Request) -> int | None:
        """Import what a job needs, and fork; None if there is nothing to fork for."""
        try:
            if not self.fits(request) or not self.prepare(request):
                send(request.client, ("plain",))
                return None
            if has_ended(request.client):  # during the imports
                return None
            return os.fork()
        except OSError:  # no record of the job, or no memory for a process
            return None

    def fits(self, request: Request) -> bool:
        """Whether a fresh Python would start in the server's environment; says once if not."""
        there = request.environment.items() ^ self.environment.items()
        names = {os.fsdecode(name) for name, _ in there} - FREE
        names = sorted(name for name in names if not name.startswith("EXCISE_"))
        if names and not self.said:
            self.said = True
            changed = ", ".join(names)
            print(f"note: a job starts as a plain program, for its {changed}", file=sys.stderr)
        return not names

    def prepare(self, request: Request) -> bool:
        """Import what the job's program imports; False if a forked process would not be sound."""
        wanted = json.loads(request.draft.with_name(IMPORTS).read_text(encoding="utf-8"))
        new = [statement for statement in wanted if statement not in self.imported]
        if new and self.fit:
            with noting_imports(self.edges), without_kernels():
                for statement in new:
                    self.imported.add(statement)
                    with suppress(Exception):  # the program will say what is wrong with it
                        exec(statement, {"__name__": "__main__"})
            gc.freeze()  # forked processes then leave the pages of these objects shared
            self.fit = forks_well()
        return self.fit

    def watch(self, process: int, client: socket.socket) -> None:
        """Tell the client of the job's end; end the job with its client."""
        handle = os.pidfd_open(process)
        self.jobs[process] = handle, client
        self.selector.register(handle, selectors.EVENT_READ, lambda: self.end(process))
        self.selector.register(client, selectors.EVENT_READ, lambda: self.kill(process))

    def kill(self, process: int) -> None:
        """The client has ended: a plain program would have ended with it."""
        if process not in self.jobs:  # both ended at once
            return
        self.selector.unregister(self.jobs[process][1])
        os.kill(process, signal.SIGKILL)  # not waited for yet, so the number is the job's

    def end(self, process: int) -> None:
        """Pass on how a job ended."""
        handle, client = self.jobs.pop(process)
        self.selector.unregister(handle)
        os.close(handle)
        if client in self.selector.get_map():
            self.selector.unregister(client)
        _, status = os.waitpid(process, 0)
        with suppress(OSError):
            send(client, ("end", status))
        client.close()

    def leave_to(self, request: Request) -> None:
        """In the forked process: be the job, and keep nothing of the server."""
        try:
            end_with_parent(self.process)
            self.selector.close()
            self.listening.close()
            for handle, client in self.jobs.values():
                os.close(handle)
                client.close()
            set_by_imports = os.environb.items() - self.environment.items()
            os.environb.clear()
            os.environb.update(request.environment | dict(set_by_imports))
            become(request)
            Shelf(self.edges, self.fresh)
            wait_for_client(request)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)  # never return to the server's loop


def receive(client: socket.socket) -> Request:
    """Read a request. Raises an error if it is not whole."""
    first, handles, _, _ = socket.recv_fds(client, 4, 4)
    try:
        *streams, begin = handles
        text = b""
        while len(text) < int.from_bytes(first, "little"):
            part = client.recv(1 << 20)
            if not part:
                raise EOFError
            text += part
        arguments, folder, environment = marshal.loads(text)
        arguments = [os.fsdecode(one) for one in arguments]
        return Request(arguments, os.fsdecode(folder), environment, streams, begin, client)
    except BaseException:
        for handle in handles:
            os.close(handle)
        raise


def send(client: socket.socket, message: tuple) -> None:
    """Send a message to a client."""
    client.sendall(marshal.dumps(message))


def has_ended(client: socket.socket) -> bool:
    """Whether a client has closed its connection."""
    try:
        return not client.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False


def forks_well() -> bool:
    """Whether a forked process has all that a fresh one has: no lost threads, and CUDA unused."""
    process = os.fork()
    if process == 0:
        cuda = getattr(sys.modules.get("torch"), "_C", None)
        used = getattr(cuda, "_cuda_isInBadFork", lambda: False)()
        os._exit(bool(used))
    _, status = os.waitpid(process, 0)
    # OpenBLAS ends its threads before a fork and starts them again later. A thread that is still
    # here is missing there.
    threads = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    return status == 0 and len([name for name in threads if name not in DISPENSABLE]) == 1


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# --- in the forked process ---


def become(request: Request) -> None:
    """Take over the client's streams, folder, process group and arguments."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program begins
    with suppress(OSError):  # the client has just ended
        os.setpgid(0, os.getpgid(client_process(request.client)))  # Ctrl-C reaches both
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(request.folder)
    with request.draft.with_name(PROCESSES).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")  # for Snakemake's benchmark
    program = request.arguments[0]
    sys.argv = list(request.arguments)
    sys.orig_argv = ["python", *request.arguments]
    sys.path.insert(0, str(Path(program).resolve().parent))
    importlib.invalidate_caches()
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # as in a fresh Python; the module `random` sees to itself


def wait_for_client(request: Request) -> None:
    """Wait until the client passes on signals; end if the client has ended."""
    try:
        send(request.client, ("job", os.getpid()))
        ready = os.read(request.begin, 1)
    except OSError:
        ready = b""
    if not ready:
        os._exit(1)
    os.close(request.begin)
    request.client.close()


def client_process(client: socket.socket) -> int:
    """Process id of a client."""
    return int.from_bytes(
        client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder
    )


def run(program: str) -> None:
    """Run a program as `__main__`, as Python does."""
    path = os.path.abspath(program)  # noqa: PTH100 (as Python does: symbolic links stay)
    main = types.ModuleType("__main__")
    main.__file__, main.__cached__, main.__builtins__ = path, None, builtins
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    main.__annotations__ = {}
    sys.modules["__main__"] = main
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next  # without our own frame
        sys.excepthook(type(error), error, error.__traceback__)
        sys.excepthook = quiet
        raise


def quiet(*_: object) -> None:
    """The program's error was reported; the server is no part of it."""


def main() -> None:
    """Program entry point: in the server until Snakemake ends, in a forked process to its end."""
    sys.path.pop(0)  # this folder; its modules are no packages
    request = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        run(request.arguments[0])


if __name__ == "__main__":
    main()
