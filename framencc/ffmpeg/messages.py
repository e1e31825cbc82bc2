"""What an ffmpeg child says: frame stamps, complaints, and the lines in which it describes a file.

ffmpeg's own messages and the texts that a file carries (titles, chapters, names of tags, its own name) travel through
one pipe, and a tag's name may hold a line break and then look like any message. Two things no file can imitate: a line
that bears this process's random mark, and the order of ffmpeg's work. ffmpeg prints all texts of a file between its
line ``Input #0`` and its line ``Stream mapping:``, before it reads the first packet, and with
`framencc.sources.probe.STREAM_CHOICE` none of them after that. So whatever stands before the last ``Stream mapping:``
of the description is not believed.
"""

import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

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

DESCRIPTION_BEGINS = "[info] Input #0, "
WORK_BEGINS = "[info] Stream mapping:"
_WORK = ("info", WORK_BEGINS.partition(" ")[2], "")
_NAMES_A_FILE = (DESCRIPTION_BEGINS, "[info] Output #")

_STAMP = re.compile(
    MARK.encode()
    + rb" (?:packet \d+|frame (?P<index>\d+) (?P<pts>-?\d+) (?P<unit>-?\d+/-?\d+)"
    + rb" (?P<estimate>-?\d+) (?P<estimate_unit>-?\d+/-?\d+)) @$"
)
_NO_PTS = (-(1 << 63), (1 << 63) - 1)
_LEVEL = re.compile(r"^(?:\[(?P<component>[^\]]* @ [^\]]*)\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)$")
_WRITTEN = re.compile(r"^\[info\] frame= *(?P<count>\d+) fps=")
_NO_MEMORY = ("Cannot allocate memory", "pthread_create() failed")
_UNPRINTABLE = re.compile(r"[\x00-\x07\x0e-\x1f]")  # ffmpeg prints question marks for them
_KEPT_ERRORS = 50
_KEPT_WAITING = 1000
_KEPT_BYTES = 4096  # of each end of a line


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


class Messages:
    """Takes apart what a child says, as it says it, in bounded memory.

    Parameters
    ----------
    is_complaint
        Tells from a message's level and text, and from the component that says it (``h264 @ 0x1234``; empty where
        none is named), whether it belongs to `errors`.
    on_stamp
        Gets the stamp of each frame.
    on_line
        Gets each other line as it arrives, a text of the file or not.
    on_no_memory
        Called when ffmpeg complains that it gets no more memory.
    own_names
        The child's arguments, whose files' names ffmpeg repeats: they may hold line breaks as well.

    Attributes
    ----------
    errors
        The first complaints, without their prefixes.
    n_complaints, latest
        How many there were, and the last of them.
    n_lines
        How many lines there were, stamps included.
    n_written
        How many frames it says at its end that it has written, or None.
    """

    def __init__(
        self,
        is_complaint: Callable[[str, str, str], bool],
        on_stamp: Callable[[FrameStamp], None],
        on_line: Callable[[str], None] | None,
        on_no_memory: Callable[[], None],
        own_names: Iterable[str] = (),
    ) -> None:
        self.errors: list[str] = []
        self.n_complaints = 0
        self.latest = ""
        self.n_lines = 0
        self.n_written: int | None = None
        self._is_complaint = is_complaint
        self._on_stamp = on_stamp
        self._on_line = on_line
        self._on_no_memory = on_no_memory
        self._names = [lines for name in own_names if (lines := _lines_of_name(name))]
        self._rest_of_name: list[str] = []
        self._rest = self._torn = b""
        self._is_described = False  # its beginning has been seen
        self._in_description = False  # its end is not certain yet
        self._is_mapped = False  # but may have been seen
        # The latest messages since the description began, or since the last line that may be its end: what a failure
        # or a first frame is about stands last, however much stands before it.
        self._waiting: deque[tuple[str, str, str]] = deque(maxlen=_KEPT_WAITING)

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self.n_lines += len(lines)
        for line in lines:
            stamp = _STAMP.search(line) if line.endswith(b" @") else None
            if stamp is None:
                self._take(self._torn + line)
                self._torn = b""
                continue
            # ffmpeg writes a message in pieces, and a stamp may come between two of them.
            self._torn = _bounded(self._torn + line[: stamp.start()])
            self._release()
            if stamp["index"] is not None:
                self._on_stamp(_read_stamp(stamp, self.n_complaints))
        self._rest = _bounded(rest)

    def end(self) -> None:
        """Take in what stands after the last line break, and judge what has been put off."""
        self._take(self._torn + self._rest)
        self._rest = self._torn = b""
        self._release()

    def _take(self, raw: bytes) -> None:
        line = _bounded(raw).decode(errors="replace").rstrip()
        if not line or self._is_of_name(line):
            return
        if self._on_line is not None:
            self._on_line(line)
        if line.startswith(DESCRIPTION_BEGINS) and not self._is_described:
            self._in_description = self._is_described = True
        elif line.startswith(WORK_BEGINS) and self._in_description:
            self._is_mapped = True
            self._waiting.clear()  # all this may be the file's own text
            return
        if (written := _WRITTEN.match(line)) is not None:
            self.n_written = int(written["count"])
        match = _LEVEL.match(line)
        if match is None:
            return
        level, text, component = match["level"], match["text"], match["component"] or ""
        if not self._in_description:
            self._judge(level, text, component)
        else:
            self._waiting.append((level, text, component))
            if self._is_mapped:
                self._look_for_memory(level, text)

    def _is_of_name(self, line: str) -> bool:
        """Whether this is a further line of a file's name, which follows on the first."""
        if self._rest_of_name and self._rest_of_name.pop(0) == line:
            return True
        self._rest_of_name = []
        if line.startswith(_NAMES_A_FILE):
            self._rest_of_name = next((name[1:] for name in self._names if line.endswith(name[0])), [])
        return False

    def _release(self) -> None:
        """Judge what has been put off: all texts of the file lie behind."""
        if self._in_description and self._is_mapped:
            self._judge(*_WORK)
        self._in_description = False
        for message in self._waiting:
            self._judge(*message)
        self._waiting.clear()

    def _look_for_memory(self, level: str, text: str) -> None:
        if is_error(level, text) and any(sign in text for sign in _NO_MEMORY):
            self._on_no_memory()

    def _judge(self, level: str, text: str, component: str) -> None:
        self._look_for_memory(level, text)
        if self._is_complaint(level, text, component):
            self.n_complaints += 1
            self.latest = text
            if len(self.errors) < _KEPT_ERRORS:
                self.errors.append(text)


def _lines_of_name(argument: str) -> list[str]:
    """Return the lines that a file's name fills where ffmpeg repeats it in quotes; none where it is a single one."""
    if not argument.startswith("file:") or "\n" not in argument:
        return []
    printed = _UNPRINTABLE.sub("?", os.fsencode(argument).decode(errors="replace"))
    lines = (line.rstrip() for line in f"'{printed}':".split("\n"))
    return [line for line in lines if line]


def _bounded(text: bytes) -> bytes:
    """Shorten a line to its two ends: by the first it is known, and at the last a stamp may stand."""
    return text if len(text) <= 2 * _KEPT_BYTES else text[:_KEPT_BYTES] + text[-_KEPT_BYTES:]


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
