"""One supervised ffmpeg child: its pipes, its messages, its exit status, its time limit, and no orphan.

ffmpeg's exit status alone says too little (a cut mp4 or a failed checksum exits 0 and only prints an error), so the
child's messages are drained by a thread, and those marked as errors are kept for whoever asks how it ended.
"""

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import IO, Self

from framencc.children import join_group, kill_child, start_child
from framencc.errors import FramenccError
from framencc.ffmpeg.messages import FrameStamp, Messages, is_error
from framencc.ffmpeg.program import executable, what_is_wrong

logger = logging.getLogger(__name__)

# A text file of playlist directives under a media name is decoded in spite of the protocol whitelist; only the format
# whitelist stops it. Names are ffmpeg's demuxers.
INPUT_SAFETY = (
    "-protocol_whitelist",
    "file,pipe,fd",
    "-format_whitelist",
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,flv,asf,ogg,dv,nut,gif,yuv4mpegpipe",
)

_PIPE_BYTES = 1 << 20
_PIECE_SECONDS = 0.2  # of a wait: on Windows only short ones can be interrupted from the keyboard


def file_url(path: object) -> str:
    """Name a file so that ffmpeg takes it for nothing else (``-x``, ``concat:a|b``, ``http:`` ...)."""
    return f"file:{path}"


class FfmpegChild:
    """A running ffmpeg whose pipes are read and written in whole buffers.

    Parameters
    ----------
    arguments
        Command line after the global options.
    stdin, stdout
        Which pipes are wanted.
    stall_seconds
        The child is killed when one transfer makes no progress for this long. At the end a reading child has so long in
        all; a writing one, which may hold many pictures back, goes on for as long as it says something in that time.
        Only time in which this process runs counts: when both are stopped (Ctrl-Z, a paused container, a suspended
        job), neither has stalled.
    memory_mib
        How much memory it may have (Linux only), or None.
    is_complaint
        Tells from a message's level, text and component whether it belongs to `errors`; see `Messages`.
    on_line
        Gets every line of the messages as it is read, in another thread, stamps excepted.

    Attributes
    ----------
    stalled, short_of_memory
        Why the child was killed here, if it was.
    n_complaints, latest_complaint
        How often it has complained, and what of last.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = False,
        stall_seconds: float = 60.0,
        memory_mib: int | None = None,
        is_complaint: Callable[[str, str, str], bool] = is_error,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        # `repeat`: a complaint that is the same as the one before is one more complaint.
        command = [executable(), "-hide_banner", "-nostats", "-loglevel", "repeat+level+info"]
        command += [] if stdin else ["-nostdin"]
        command += arguments
        logger.debug("starting %s", command)
        # In a session of its own a Ctrl-C on the terminal reaches us alone, and we end the child in order.
        try:
            self._process = start_child(
                command,
                memory_mib=memory_mib,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:
            raise FramenccError(f"ffmpeg {command[0]!r} cannot be started: {error.strerror}") from None
        self.stalled = False
        self.short_of_memory = False
        self._memory_mib = memory_mib
        self._stall_seconds = stall_seconds
        # Counts what has been waited for, and is None when nothing is; the watchdog kills the child when it stays.
        self._awaited: int | None = None
        self._n_awaited = 0
        self._ends_writing = False
        # Held during one read or write: a pipe must not be closed, and its number given to another file, meanwhile.
        self._transfer = threading.Lock()
        self._over = threading.Event()
        self._stamps: queue.SimpleQueue[FrameStamp | None] = queue.SimpleQueue()
        self._messages = Messages(is_complaint, self._stamps.put, on_line, self._end_without_memory, own_names=command)
        for pipe in (self._process.stdin, self._process.stdout):
            _enlarge(pipe)
        self._drain = threading.Thread(target=self._drain_messages, name="ffmpeg-messages", daemon=True)
        self._drain.start()
        self._watchdog = threading.Thread(target=self._watch, name="ffmpeg-watchdog", daemon=True)
        self._watchdog.start()
        join_group(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process number of the child."""
        return self._process.pid

    @property
    def errors(self) -> list[str]:
        """What ffmpeg has reported as an error so far, oldest first, without its prefixes."""
        return list(self._messages.errors)

    @property
    def n_complaints(self) -> int:
        """How often it has complained so far."""
        return self._messages.n_complaints

    @property
    def latest_complaint(self) -> str:
        """What it has complained of last; empty where it has not."""
        return self._messages.latest

    @property
    def n_written(self) -> int | None:
        """How many frames it says that it has written, once it has ended; None where it does not say."""
        return self._messages.n_written

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` (bytes, contiguous) from the child's output; fewer bytes are returned only at its end."""
        pipe = self._process.stdout
        assert pipe is not None, "started without stdout"
        done = 0
        while done < len(buffer):
            with self._waiting(), self._transfer:
                count = 0 if pipe.closed else pipe.readinto(buffer[done:])  # type: ignore[attr-defined]
            if not count:
                break
            done += count
        return done

    def next_stamp(self) -> FrameStamp | None:
        """Wait for the stamp of the next frame of a child that was started with `FRAME_STAMPS`.

        It comes before the frame itself. None: there are no more frames, or the child was killed.
        """
        with self._waiting():
            while True:
                with contextlib.suppress(queue.Empty):
                    stamp = self._stamps.get(timeout=_PIECE_SECONDS)
                    break
        if stamp is None:
            self._stamps.put(None)  # for whoever asks again
        return stamp

    def write(self, buffer: memoryview | bytes) -> None:
        """Write all of `buffer` (bytes, contiguous) to the child's input.

        Raises
        ------
        BrokenPipeError
            When the child has ended; `finish` then tells why.
        """
        pipe = self._process.stdin
        assert pipe is not None, "started without stdin"
        view = memoryview(buffer)
        while view:
            with self._waiting(), self._transfer:
                if pipe.closed:
                    raise BrokenPipeError("the child has been ended")
                count = pipe.write(view)
            view = view[count:]

    def finish(self) -> int:
        """Close the pipes, wait for the child's own end, and return its exit status (negative: a signal)."""
        self._ends_writing = self._process.stdin is not None
        with self._waiting():
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            # Its messages end when it does; a wait for the process with a time limit only looks now and then.
            while self._drain.is_alive():
                self._drain.join(_PIECE_SECONDS)
            status = self._process.wait()
        self._end_threads()
        return status

    def kill(self) -> None:
        """End the child at once, if it still runs, and wait until it is gone. Safe to call twice."""
        self._end_process()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with self._transfer, contextlib.suppress(OSError):
                    pipe.close()
        self._end_threads()

    def explain(self) -> str:
        """Say in one line why the child failed."""
        if self.short_of_memory:
            return f"ffmpeg needs more memory than it may have, limits.decoder_memory_mib = {self._memory_mib}"
        if self.stalled:
            return f"ffmpeg made no progress for {self._stall_seconds:g} s and was killed"
        if errors := self._messages.errors:
            return errors[0]
        status = self._process.poll()
        if status is not None and status < 0:
            return f"ffmpeg was ended by signal {-status}"
        return f"ffmpeg ended with exit status {status}"

    def fault_of_program(self, demuxers: Sequence[str] = ()) -> str | None:
        """Say why the ffmpeg program is to blame for the failure, where it is; see `what_is_wrong`."""
        if self.stalled or self.short_of_memory:
            return None
        self.finish()  # now everything that it said is known
        return what_is_wrong(self.errors, demuxers=demuxers)

    def _end_process(self) -> None:
        if self._process.poll() is None and self._process.stdin is not None:
            # A writer may tidy up; a reader has nothing to tidy, and would first wait for its full pipe to be emptied.
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        kill_child(self._process)

    def _end_threads(self) -> None:
        self._over.set()
        self._drain.join()
        self._watchdog.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _drain_messages(self) -> None:
        assert self._process.stderr is not None
        while chunk := self._process.stderr.read(1 << 16):
            self._messages.feed(chunk)
        self._messages.end()
        self._stamps.put(None)

    def _end_without_memory(self) -> None:
        self.short_of_memory = self._memory_mib is not None
        if self.short_of_memory:
            kill_child(self._process)  # some of its threads wait for ever for one that has given up

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait for the child in a ``with`` block, but not for ever: each block is one step of progress."""
        self._n_awaited += 1
        self._awaited = self._n_awaited
        try:
            yield
        finally:
            self._awaited = None

    def _watch(self) -> None:
        """End the child when a wait makes no progress.

        What counts is how often this thread wakes up meanwhile. A tick of it takes as long as it should at least, and a
        stop of this process, however long, falls into a single one; by a clock all of the stop would count.
        """
        tick = min(1.0, self._stall_seconds / 8)
        n_ticks = 0
        before: tuple[int, int] | None = None
        while not self._over.wait(tick):
            awaited = self._awaited
            heard = self._messages.n_lines if self._ends_writing else 0
            now = None if awaited is None else (awaited, heard)
            n_ticks = n_ticks + 1 if now is not None and now == before else 0
            before = now
            if n_ticks * tick >= self._stall_seconds:
                self.stalled = True
                self._end_process()
                return


def _environment() -> dict[str, str]:
    """Return this process's environment without what colours ffmpeg's messages, which are read here."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AV_LOG_FORCE_")}


def _enlarge(pipe: IO[bytes] | None) -> None:
    """Give a pipe a whole megabyte, so that a frame passes in few switches between the processes."""
    if pipe is None or not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415  (exists on POSIX only)

    with contextlib.suppress(OSError):  # an unprivileged user may be over the system's limit: slower, not wrong
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
