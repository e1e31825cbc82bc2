"""One supervised ffmpeg child: its pipes, its messages, its exit status, its time limit, and no orphan.

ffmpeg's exit status alone says too little (a cut mp4 or a failed checksum exits 0 and only prints an error), so the
child's messages are drained by a thread, and those marked as errors are kept for whoever asks how it ended.
"""

import contextlib
import logging
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import IO, Self

from framencc.children import kill_child, start_child
from framencc.errors import FramenccError

logger = logging.getLogger(__name__)

# A text file of playlist directives under a media name is decoded in spite of the protocol whitelist; only the format
# whitelist stops it. Names are ffmpeg's demuxers.
INPUT_SAFETY = (
    "-protocol_whitelist",
    "file,pipe,fd",
    "-format_whitelist",
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,flv,asf,ogg,dv,nut,gif,yuv4mpegpipe",
)

# With these output options the child writes a line for every frame that reaches the encoder, among its messages: as
# both travel through one pipe, what ffmpeg had complained about by then stands before the frame's own line.
# ffmpeg prints what a file says of itself as well, and no file can know the mark.
MARK = f"@{secrets.token_hex(6)}"
# A frame without a stored time gets ffmpeg's own estimate, which is exact only in the input's unit; in so fine a unit
# frames must be passed through (-fps_mode), as a constant rate would repeat them to fill it.
FRAME_STAMPS = (
    *("-enc_time_base", "demux", "-stats_enc_pre", "pipe:2"),
    *("-stats_enc_pre_fmt", MARK + " frame {n} {ptsi} {tbi} {pts} {tb} @"),
)

# With these a writing child shows that it gets on, also while it empties itself after its input has ended.
PACKET_STAMPS = ("-stats_enc_post", "pipe:2", "-stats_enc_post_fmt", MARK + " packet {n} @")

_STAMP = re.compile(
    MARK.encode()
    + rb" (?:packet \d+|frame (?P<index>\d+) (?P<pts>-?\d+) (?P<unit>-?\d+/-?\d+)"
    + rb" (?P<estimate>-?\d+) (?P<estimate_unit>-?\d+/-?\d+)) @$"
)
_NO_PTS = (-(1 << 63), (1 << 63) - 1)
_LEVEL = re.compile(r"^(?:\[(?P<component>[^\]]* @ [^\]]*)\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)$")
_PIPE_BYTES = 1 << 20
_NO_MEMORY = ("Cannot allocate memory", "pthread_create() failed")
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


@dataclass(frozen=True, slots=True)
class FrameStamp:
    """What the child said of one frame before it wrote the frame.

    Parameters
    ----------
    index
        Number of the frame in the child's output, from 0.
    pts_seconds
        Time on the input's own clock, exact, or None where the input has none.
    time_base
        Unit of the input's time stamps in seconds, or None.
    clean
        Nothing had been complained about when the frame left the decoder, so the frame is good.
    estimated_seconds
        The time where the input has one, and else what ffmpeg makes of the frames around; None where it cannot tell.
    n_complaints
        How often something had been.
    """

    index: int
    pts_seconds: Fraction | None
    time_base: Fraction | None
    clean: bool
    estimated_seconds: Fraction | None
    n_complaints: int = field(default=0, compare=False)


def is_error(level: str, text: str, component: str = "") -> bool:  # noqa: ARG001  (for those who look closer)
    """Tell whether a message is a complaint: everything that ffmpeg itself calls an error."""
    return level in ("error", "fatal", "panic")


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
    memory_mib
        How much memory it may have (Linux only), or None.
    is_complaint
        Tells from a message's level and text, and from the component that says it (``h264 @ 0x1234``; empty where
        none is named), whether it belongs to `errors`.

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
    ) -> None:
        command = [executable(), "-hide_banner", "-nostats", "-loglevel", "level+info"]
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
            )
        except OSError as error:
            raise FramenccError(f"ffmpeg {command[0]!r} cannot be started: {error.strerror}") from None
        self.stalled = False
        self.short_of_memory = False
        self.n_complaints = 0
        self.latest_complaint = ""
        self._n_heard = 0
        self._memory_mib = memory_mib
        self._stall_seconds = stall_seconds
        self._is_complaint = is_complaint
        self._waiting_since: float | None = None
        # Held during one read or write: a pipe must not be closed, and its number given to another file, meanwhile.
        self._transfer = threading.Lock()
        self._over = threading.Event()
        self._stamps: queue.SimpleQueue[FrameStamp | None] = queue.SimpleQueue()
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
                with self._transfer:
                    count = 0 if pipe.closed else pipe.readinto(buffer[done:])  # type: ignore[attr-defined]
                if not count:
                    break
                done += count
        finally:
            self._waiting_since = None
        return done

    def next_stamp(self) -> FrameStamp | None:
        """Wait for the stamp of the next frame of a child that was started with `FRAME_STAMPS`.

        It comes before the frame itself. None: there are no more frames, or the child was killed.
        """
        try:
            stamp = self._stamps.get(timeout=self._stall_seconds)
        except queue.Empty:
            self.stalled = True
            self.kill()
            return None
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
        try:
            while view:
                self._waiting_since = time.monotonic()
                with self._transfer:
                    if pipe.closed:
                        raise BrokenPipeError("the child has been ended")
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
        # Its messages end when it does; a wait for the process with a time limit only looks now and then.
        while self._drain.is_alive():
            n_heard = self._n_heard
            self._drain.join(self._stall_seconds)
            if self._drain.is_alive() and (self._process.stdin is None or self._n_heard == n_heard):
                return self._kill_stalled()
        try:
            status = self._process.wait(self._stall_seconds)
        except subprocess.TimeoutExpired:
            return self._kill_stalled()
        self._end_threads()
        return status

    def _kill_stalled(self) -> int:
        self.stalled = True
        self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End the child at once, if it still runs, and wait until it is gone. Safe to call twice."""
        if self._process.poll() is None and self._process.stdin is not None:
            # A writer may tidy up; a reader has nothing to tidy, and would first wait for its full pipe to be emptied.
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        if self._process.poll() is None:
            kill_child(self._process)
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
        if self._errors:
            return self._errors[0]
        status = self._process.poll()
        if status is not None and status < 0:
            return f"ffmpeg was ended by signal {-status}"
        return f"ffmpeg ended with exit status {status}"

    def _end_threads(self) -> None:
        self._over.set()
        self._drain.join()
        self._watchdog.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _drain_messages(self) -> None:
        assert self._process.stderr is not None
        rest = torn = b""
        while chunk := self._process.stderr.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            self._n_heard += len(lines)
            for line in lines:
                stamp = _STAMP.search(line) if line.endswith(b" @") else None
                if stamp is None:
                    self._keep(torn + line)
                    torn = b""
                else:
                    # ffmpeg writes a message in pieces, and a stamp may come between two of them.
                    torn += line[: stamp.start()]
                    if stamp["index"] is not None:
                        self._stamps.put(_read_stamp(stamp, self.n_complaints))
            rest = rest[-4096:]
        self._keep(torn + rest)
        self._stamps.put(None)

    def _keep(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        self._lines.append(line)
        match = _LEVEL.match(line)
        if match and is_error(match["level"], match["text"]) and any(sign in line for sign in _NO_MEMORY):
            self.short_of_memory = self._memory_mib is not None
            if self.short_of_memory:
                kill_child(self._process)  # some of its threads wait for ever for one that has given up
        if match and self._is_complaint(match["level"], match["text"], match["component"] or ""):
            self.n_complaints += 1
            self.latest_complaint = match["text"]
            if len(self._errors) < _KEPT_ERRORS:
                self._errors.append(match["text"])

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._stall_seconds / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._stall_seconds:
                self.stalled = True
                kill_child(self._process)
                return


def _read_stamp(match: re.Match[bytes], n_complaints: int) -> FrameStamp:
    stored, unit = _read_time(match["pts"], match["unit"])
    estimate, _ = _read_time(match["estimate"], match["estimate_unit"])
    return FrameStamp(
        int(match["index"]), stored, unit, n_complaints == 0, estimate if stored is None else stored, n_complaints
    )


def _read_time(ticks: bytes, unit: bytes) -> tuple[Fraction | None, Fraction | None]:
    """Return a time in seconds and its unit, or twice None where there is none."""
    numerator, denominator = (int(part) for part in unit.split(b"/"))
    if int(ticks) in _NO_PTS or numerator <= 0 or denominator <= 0:
        return None, None
    time_base = Fraction(numerator, denominator)
    return int(ticks) * time_base, time_base


def _enlarge(pipe: IO[bytes] | None) -> None:
    """Give a pipe a whole megabyte, so that a frame passes in few switches between the processes."""
    if pipe is None or not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415  (exists on POSIX only)

    with contextlib.suppress(OSError):  # an unprivileged user may be over the system's limit: slower, not wrong
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
