"""Starting children that cannot outlive this process, under limits of their own.

Linux only; elsewhere children just start.

A child asks the kernel itself to be killed when its parent ends, which it has to do between its start and the program
proper. `subprocess` would call a function of ours there (`preexec_fn`), but for that it forks for real, and OpenBLAS,
which NumPy uses, hangs for ever when a process forks while another thread multiplies matrices. So a child begins as
another program, which asks and then becomes the one that was wanted: util-linux's `setpriv`, which takes a millisecond,
or where there is none a small Python program, which takes 15; inside an application that brings its own interpreter,
and without setpriv, children just start.

With setpriv this process sets the limits, as soon as the child exists. A limit counts what the child has taken before,
so it makes no difference that the child may have begun. One thing setpriv does not do: it does not look whether the
parent has ended in the millisecond before it asked. Such a child finds its pipes closed, and ends by itself.
"""

import contextlib
import errno
import functools
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

Process = subprocess.Popen[bytes]

_TRIAL_SECONDS = 5.0

# Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so in the program that follows.
_PREPARATION = """
import ctypes, os, resource, signal, sys
PR_SET_PDEATHSIG = 1
parent, memory_mib, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(parent):
    sys.exit("[fatal] the program that started this has ended")
def limit(what, wanted):
    hard = resource.getrlimit(what)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (value, value))
limit(resource.RLIMIT_CORE, 0)
if int(memory_mib):
    limit(resource.RLIMIT_DATA, int(memory_mib) << 20)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit("[fatal] " + command[0] + " cannot be started: " + error.strerror)
"""


class Killable(Protocol):
    """A child that any thread can end."""

    def kill(self) -> None:
        """End it at once, if it still runs. Safe to call twice."""


class ChildGroup:
    """The children that one thread starts for a while, so that another thread can end them whatever they are for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: weakref.WeakSet[Killable] = weakref.WeakSet()
        self._is_over = False

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Let every child that this thread starts in a ``with`` block belong to the group."""
        before = getattr(_gathering, "group", None)
        _gathering.group = self
        try:
            yield
        finally:
            _gathering.group = before

    def end(self) -> None:
        """End all of them, and every one that is still to come at its start. Safe to call twice, from any thread."""
        with self._lock:
            self._is_over = True
            children = list(self._children)
        for child in children:
            child.kill()

    def _add(self, child: Killable) -> None:
        with self._lock:
            self._children.add(child)
            is_over = self._is_over
        if is_over:
            child.kill()


_gathering = threading.local()


def join_group(child: Killable) -> None:
    """Add a child to the group that this thread is gathering, if it is."""
    group: ChildGroup | None = getattr(_gathering, "group", None)
    if group is not None:
        group._add(child)


def start_child(command: Sequence[str], *, memory_mib: int | None = None, **options: Any) -> Process:
    """Start a program that ends when this process does, however that happens.

    Parameters
    ----------
    command
        Program and arguments.
    memory_mib
        How much memory of its own it may have; None: as much as it likes.
    options
        As of `subprocess.Popen`.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    if sys.platform == "win32":
        # A console sends Ctrl-C to all its processes of one group; the child is ended by this process alone.
        options["creationflags"] = options.get("creationflags", 0) | subprocess.CREATE_NEW_PROCESS_GROUP
    start: Callable[[], Process]
    if sys.platform == "linux" and (setpriv := _setpriv()) is not None:
        asked = [setpriv, "--pdeathsig", "KILL", "--"]
        start = lambda: _limited(subprocess.Popen([*asked, *_found(command)], **options), memory_mib)  # noqa: E731
    elif _can_prepare():
        prepared = [sys.executable, "-I", "-S", "-c", _PREPARATION, str(os.getpid()), str(memory_mib or 0)]
        start = lambda: subprocess.Popen([*prepared, *_found(command)], **options)  # noqa: E731
    else:
        return subprocess.Popen(command, **options)
    started: Future[Process] = Future()
    _starter(os.getpid()).put((started, start))
    try:
        return started.result()
    except BaseException:
        # Interrupted while it was being started: nobody else will ever know of it.
        started.add_done_callback(_abandon)
        raise


def prepare_starts() -> None:
    """Find out how children are started, which is tried once in a process."""
    if sys.platform == "linux":
        _setpriv()


def kill_child(process: Process) -> None:
    """Kill a child at once, and what it has started in turn if it leads a session of its own."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):  # another thread has just seen it end
        if sys.platform != "win32" and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@functools.cache
def _setpriv() -> str | None:
    """Return the program that can have a child end with its parent; None where there is none (BusyBox's cannot)."""
    program = shutil.which("setpriv")
    if program is None:
        return None
    trial = [program, "--pdeathsig", "KILL", "--", program, "--version"]
    try:
        done = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):  # something else of that name
        return None
    return program if done.returncode == 0 and b"util-linux" in done.stdout else None


def _limited(process: Process, memory_mib: int | None) -> Process:
    """Set the limits of a child that has just been started."""
    import resource  # noqa: PLC0415  (exists on POSIX only)

    wanted = {resource.RLIMIT_CORE: 0}
    if memory_mib:
        wanted[resource.RLIMIT_DATA] = memory_mib << 20
    try:
        for what, value in wanted.items():
            hard = resource.prlimit(process.pid, what)[1]
            limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(process.pid, what, (limit, limit))
    except ProcessLookupError:  # it has ended already
        pass
    except BaseException:
        _end(process)
        raise
    return process


def _can_prepare() -> bool:
    return sys.platform == "linux" and Path(sys.executable or "").name.startswith("python")


def _found(command: Sequence[str]) -> list[str]:
    """Resolve the program, whose absence would otherwise be noticed only by the child."""
    program = shutil.which(command[0])
    if program is None:
        code = errno.EACCES if Path(command[0]).exists() else errno.ENOENT
        raise OSError(code, os.strerror(code), command[0])
    return [program, *command[1:]]


@functools.lru_cache(maxsize=1)
def _starter(pid: int) -> "queue.SimpleQueue[tuple[Future[Process], Callable[[], Process]]]":  # noqa: ARG001
    """Return the way to the thread that starts children; a fork of this process has to make its own.

    The kernel takes the end of the thread that started a child for the end of its parent, so that must be a thread that
    lasts as long as the process.
    """
    requests: queue.SimpleQueue[tuple[Future[Process], Callable[[], Process]]] = queue.SimpleQueue()

    def serve() -> None:
        while True:
            started, start = requests.get()
            try:
                started.set_result(start())
            except BaseException as error:  # noqa: BLE001  (carried to the thread that asked)
                started.set_exception(error)
            del started, start  # whoever asked is to be the only one who holds the child

    threading.Thread(target=serve, name="framencc-starter", daemon=True).start()
    return requests


def _abandon(started: "Future[Process]") -> None:
    if started.exception() is None:
        _end(started.result())


def _end(process: Process) -> None:
    kill_child(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
