"""One supervised ffmpeg child: its pipes, its messages, its exit status, its time limit, and no orphan.

ffmpeg's exit status alone says too little (a cut mp4 or a failed checksum exits 0 and only prints an error), so the
child's messages are drained by a thread, and those marked as errors are kept for whoever asks how it ended.
"""

import contextlib
import logging
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from framencc.errors import FramenccError

logger = logging.getLogger(__name__)

# A text file of playlist directives under a media name is decoded in spite of the protocol whitelist; only the format
# whitelist stops it. Names are ffmpeg's demuxers.
INPUT_SAFETY = (
    "-protocol_whitelist",
    "file,pipe,fd",
    "-format_whitelist",
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,flv,asf,ogg,dv,nut,gif,"
    "yuv4mpegpipe",
)

_LEVEL = re.compile(r"^(?:\[[^\]]* @ [^\]]*\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)$")
_PIPE_BYTES = 1 << 20
_KEPT_LINES = 400
_KEPT_ERRORS = 50


def executable() -> str:
    """Return the path of the ffmpeg program: IMAGEIO_FFMPEG_EXE, or the one that imageio-ffmpeg brings.

    Raises
    ------
    FramenccError
        When there is none.
    """
    import imageio_ffmpeg  # noqa: PLC0415  (needed only by jobs that touch video)

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FramenccError(f"no ffmpeg program found: {error}; set IMAGEIO_FFMPEG_EXE to one") from None


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
        The child is killed when one transfer makes no progress for this long.
    """

    def __init__(
        self, arguments: Sequence[str], *, stdin: bool = False, stdout: bool = False, stall_seconds: float = 60.0
    ) -> None:
        command = [executable(), "-hide_banner", "-nostats", "-loglevel", "level+info"]
        command += [] if stdin else ["-nostdin"]
        command += arguments
        logger.debug("starting %s", command)
        # In a session of its own a Ctrl-C on the terminal reaches us alone, and we end the child in order.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self.stalled = False
        self._stall_seconds = stall_seconds
        self._waiting_since: float | None = None
        self._over = threading.Event()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        for pipe in (self._process.stdin, self._process.stdout):
            _enlarge(pipe)
        self._drain = threading.Thread(target=self._drain_messages, name="ffmpeg-messages", daemon=True)
        self._drain.start()
        self._watchdog = threading.Thread(target=self._watch, name="ffmpeg-watchdog", daemon=True)
        self._watchdog.start()

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
        return list(self._errors)

    @property
    def lines(self) -> list[str]:
        """The latest messages of every level as printed, oldest first."""
        return list(self._lines)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` (bytes, contiguous) from the child's output; fewer bytes are returned only at its end."""
        pipe = self._process.stdout
        assert pipe is not None, "started without stdout"
        done = 0
        try:
            while done < len(buffer):
                self._waiting_since = time.monotonic()
                count = pipe.readinto(buffer[done:])  # type: ignore[attr-defined]
                if not count:
                    break
                done += count
        finally:
            self._waiting_since = None
        return done

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
        try:
            while view:
                self._waiting_since = time.monotonic()
                count = pipe.write(view)
                view = view[count:]
        finally:
            self._waiting_since = None

    def finish(self) -> int:
        """Close the pipes, wait for the child's own end, and return its exit status (negative: a signal)."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            status = self._process.wait(self._stall_seconds)
        except subprocess.TimeoutExpired:
            self.stalled = True
            self.kill()
            return self._process.returncode
        self._end_threads()
        return status

    def kill(self) -> None:
        """End the child at once, if it still runs, and wait until it is gone. Safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._end_threads()

    def explain(self) -> str:
        """Say in one line why the child failed."""
        if self.stalled:
            return f"ffmpeg made no progress for {self._stall_seconds:g} s and was killed"
        if self._errors:
            return self._errors[0]
        status = self._process.poll()
        return f"ffmpeg ended with exit status {status}" if status is None or status >= 0 else f"signal {-status}"

    def _end_threads(self) -> None:
        self._over.set()
        self._drain.join()
        self._watchdog.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _drain_messages(self) -> None:
        assert self._process.stderr is not None
        rest = b""
        while chunk := self._process.stderr.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._keep(line)
            rest = rest[-4096:]
        self._keep(rest)

    def _keep(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        self._lines.append(line)
        match = _LEVEL.match(line)
        if match and match["level"] in ("error", "fatal", "panic") and len(self._errors) < _KEPT_ERRORS:
            self._errors.append(match["text"])

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._stall_seconds / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._stall_seconds:
                self.stalled = True
                self._process.kill()
                return


def _enlarge(pipe: IO[bytes] | None) -> None:
    """Give a pipe a whole megabyte, so that a frame passes in few switches between the processes."""
    if pipe is None or not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415  (exists on POSIX only)

    with contextlib.suppress(OSError):  # an unprivileged user may be over the system's limit: slower, not wrong
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
