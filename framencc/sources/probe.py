"""What a video is, found by decoding its first frame with a short-lived ffmpeg."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from framencc.channels import DEFAULT_MATRIX
from framencc.errors import SourceError, SpecError
from framencc.ffmpeg import FRAME_STAMPS, INPUT_SAFETY, MARK, FfmpegChild, file_url
from framencc.frames import StreamInfo
from framencc.sources.containers import NOTHING, Promise, read_promise
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.pixel_formats import Layout, find_layout
from framencc.sources.planes import ChannelPlanes, MaskPlanes
from framencc.sources.selection import DEFAULT_FRAME_RATE
from framencc.sources.wanted import Wanted, WantedChannels, WantedMask
from framencc.values import MAX_PIXELS

# ffmpeg applies the rotation that a file asks for unless told not to: sizes are those of the picture as displayed.
# `V` leaves out cover art. Output time stamps are never used, so passthrough only keeps frames from being dropped.
STREAM_CHOICE = ("-map", "0:V:0", "-an", "-sn", "-dn", "-fps_mode", "passthrough")

# Inputs without a clock, by ffmpeg's names: only the order of the pictures, and their rate, can be known.
_TIMELESS = ("avi", "h264", "hevc", "mpegvideo", "m4v", "av1", "obu")
_BLOCKS_BEYOND = 1 << 16
_MAPPING = re.compile(r"^\[info\] +Stream #0:(?P<stream>\d+) -> #0:0 \((?P<codec>\w+)")
_DURATION = re.compile(r"^\[info\] +Duration: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+)")
_CONTAINER = re.compile(r"^\[info\] Input #0, (?P<container>.*), from ")
_ROTATION = re.compile(r"^\[info\] +(?:Display Matrix|displaymatrix): rotation of (?P<degrees>[-\d.]+) degrees")
# What a file says of itself, line breaks included, is printed among ffmpeg's own messages, and could look like any of
# them. A filter's messages bear its name, and no file can know this one.
_FILTER = f"showinfo{MARK}"
_SHOWINFO = rf"^\[{_FILTER} @ [^\]]*\] \[info\] "
_CONFIG = re.compile(_SHOWINFO + r"config in .*frame_rate: (?P<rate>\d+/\d+)")
_FRAME = re.compile(
    _SHOWINFO
    + r"n: *0 .*\bfmt:(?P<format>\w+) .*\bsar:(?P<sar>\d+/\d+) s:(?P<width>\d+)x(?P<height>\d+) i:(?P<field>\w)"
)
# ffmpeg's names of the equations between YUV and RGB that are known here (H.273, table 4).
_MATRICES = {"bt709": "bt709", "smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}
UNKNOWN_MATRIX = "unknown"
_COLOUR = re.compile(
    _SHOWINFO + r"color_range:(?P<range>\S+) color_space:(?P<space>\S+) color_primaries:(?P<primaries>\S+) "
    r"color_trc:(?P<transfer>\S+)"
)


@dataclass(frozen=True, slots=True)
class VideoProbe:
    """What is known of a video before it is read.

    Parameters
    ----------
    info
        The stream.
    layout
        How its samples are fetched.
    planes
        What becomes of them.
    decoded_size
        (width, height) before rotation, as ffmpeg's own messages name it.
    promise
        What the container says of the stream.
    timeless
        Whether frames have no times of their own, only their places in the order of display.
    """

    info: StreamInfo
    layout: Layout
    planes: ChannelPlanes | MaskPlanes
    decoded_size: tuple[int, int]
    promise: Promise = NOTHING
    timeless: bool = False


def input_arguments(path: str, limits: SizeLimits = DEFAULT_LIMITS, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the part of a command line that opens `path`, as a file and nothing else, with `options` of the input."""
    # A decoder counts whole blocks, with those beyond the picture's edge; the exact limit is ours to check.
    most = min(4 * limits.max_pixels + _BLOCKS_BEYOND, MAX_PIXELS)
    return (*INPUT_SAFETY, "-max_pixels", str(most), "-copyts", *options, "-i", file_url(path), *STREAM_CHOICE)


def wanted_layout(pixel_format: str, wanted: Wanted) -> Layout | None:
    """Return how to fetch what is wanted of a pixel format, or None where its samples cannot be had unchanged."""
    if isinstance(wanted, WantedChannels):
        return find_layout(pixel_format, colours=wanted.channel != "luma", alpha=wanted.alpha)
    return find_layout(pixel_format, alpha=True)


def probe_video(
    path: str,
    stall_seconds: float,
    wanted: Wanted,
    *,
    memory_mib: int | None = None,
    limits: SizeLimits = DEFAULT_LIMITS,
    options: Sequence[str] = (),
) -> VideoProbe:
    """Decode the first frame of a video, or of a take of it (`Take.options`), and say what it is.

    Raises
    ------
    SpecError
        When it does not have what is wanted.
    SourceError
        When there is no frame that can be decoded and whose samples can be had unchanged.
    """
    opening = input_arguments(path, limits, options)
    arguments = (*opening, *FRAME_STAMPS, "-vf", f"{_FILTER}=checksum=0", "-frames:v", "1")
    with FfmpegChild([*arguments, "-f", "null", "-"], stall_seconds=stall_seconds, memory_mib=memory_mib) as child:
        child.finish()
        lines = child.lines
        frame = _first(_FRAME, lines)
        if frame is None:
            raise SourceError(f"input {path!r} cannot be read as a video: {_why(child)}")
        stamp = child.next_stamp()
    layout = wanted_layout(frame["format"], wanted)
    if layout is None:
        raise SourceError(
            f"input {path!r} has pixel format {frame['format']}, whose samples cannot be read unchanged; "
            f"convert it to an integer YUV, gray or RGB format"
        )
    width, height = int(frame["width"]), int(frame["height"])
    limits.check_pixels(height, width, f"input {path!r}")
    details = _details(lines, frame)
    is_yuv = layout.planes.startswith("y") and not layout.is_gray
    matrix = _yuv_matrix(str(details["colour_space"]), width, height) if is_yuv else None
    try:
        planes = _planes(layout, wanted, matrix, details)
    except ValueError as error:
        raise SpecError(f"input {path!r} {error}") from None
    promise = _promise(path, lines, details)
    timeless = details["container"] in _TIMELESS and (stamp is None or stamp.pts_seconds is None)
    if timeless and promise.has_holes:
        raise SourceError(
            f"input {path!r} leaves places between its pictures empty and does not say which, so the times of its "
            f"frames are not known; convert it to .mkv"
        )
    rate = _frame_rate(lines)
    rotation = _rotation(lines)
    duration = details["duration_seconds"]
    info = StreamInfo(
        height=height,
        width=width,
        dtype=planes.dtype,
        n_frames=promise.n_frames,
        frame_rate=rate,
        bits=layout.bits,
        time_base=stamp.time_base if stamp else None,
        n_channels=planes.n_channels,
        matrix=matrix,
        conversion=planes.conversion,
        details=details
        | {
            "estimated_frames": round(duration * rate) if isinstance(duration, float) else None,
            "rotation_degrees": rotation,
        },
    )
    size = (height, width) if round(rotation) % 180 else (width, height)
    return VideoProbe(info, layout, planes, size, promise, timeless)


def _promise(path: str, lines: Sequence[str], details: Mapping[str, object]) -> Promise:
    mapping = _first(_MAPPING, lines)
    promise = read_promise(path, int(mapping["stream"])) if mapping else NOTHING
    # Of an interlaced stream each of a frame's two fields may be stored by itself.
    return replace(promise, n_frames=None) if details["interlaced"] else promise


def _planes(
    layout: Layout, wanted: Wanted, yuv_matrix: str | None, details: dict[str, str | int | float | bool | None]
) -> ChannelPlanes | MaskPlanes:
    # A video that does not say has the usual range, as every player assumes.
    limited = details["colour_range"] != "pc"
    if isinstance(wanted, WantedMask):
        if str(details["pixel_format"]).startswith("ya"):
            raise ValueError("has an alpha channel that cannot be read; store the mask without one")
        # Gray that does not say has its codes taken as they are.
        return MaskPlanes(layout, wanted, limited=details["colour_range"] == "tv" if layout.is_gray else limited)
    assert isinstance(wanted, WantedChannels)
    if wanted.rgb_range != "auto":
        limited = wanted.rgb_range == "limited"
    matrix = wanted.rgb_matrix
    if matrix == "auto":
        if layout.planes.startswith("yuv") and wanted.channel != "luma" and yuv_matrix == UNKNOWN_MATRIX:
            raise ValueError(f"has colour space {details['colour_space']}, which is not known here; set ncc.rgb_matrix")
        known = yuv_matrix not in (None, UNKNOWN_MATRIX)
        return ChannelPlanes(layout, wanted, str(yuv_matrix) if known else DEFAULT_MATRIX, limited=limited)
    return ChannelPlanes(layout, wanted, matrix, limited=limited)


def _yuv_matrix(colour_space: str, width: int, height: int) -> str:
    """Return which equations a YUV video keeps, by its word or, where it has none, by its size; or ``unknown``."""
    if colour_space in ("unknown", "reserved", "None"):
        return "bt709" if max(width, height) >= 1280 or min(width, height) > 576 else "bt601"
    return _MATRICES.get(colour_space, UNKNOWN_MATRIX)


def _why(child: FfmpegChild) -> str:
    if any("matches no streams" in line for line in child.lines):
        return "it holds no video stream"
    if child.errors and child.errors[0].startswith("Format not on whitelist"):
        return "its format is none of the media containers that are read"
    if any("exceeds specified max pixel count" in error for error in child.errors):
        return "its pictures have far more pixels than limits.max_pixels allows"
    if child.errors or child.stalled or child.short_of_memory:
        return child.explain().rstrip(".")
    return "it holds no frame that can be decoded"


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match[str] | None:
    return next((match for line in lines if (match := pattern.match(line))), None)


def _frame_rate(lines: Sequence[str]) -> Fraction:
    match = _first(_CONFIG, lines)
    numerator, denominator = (int(part) for part in match["rate"].split("/")) if match else (0, 0)
    return Fraction(numerator, denominator) if numerator and denominator else DEFAULT_FRAME_RATE


def _details(lines: Sequence[str], frame: re.Match[str]) -> dict[str, str | int | float | bool | None]:
    mapping, container, colour = (_first(pattern, lines) for pattern in (_MAPPING, _CONTAINER, _COLOUR))
    details: dict[str, str | int | float | bool | None] = {
        "kind": "video",
        "container": container["container"] if container else None,
        "codec": mapping["codec"] if mapping else None,
        "pixel_format": frame["format"],
        "sample_aspect_ratio": frame["sar"].replace("/", ":"),
        "interlaced": frame["field"] != "P",
        "duration_seconds": _duration(lines),
    }
    for name in ("range", "space", "primaries", "transfer"):
        details[f"colour_{name}"] = colour[name] if colour else None
    return details


def _duration(lines: Sequence[str]) -> float | None:
    match = _first(_DURATION, lines)
    return int(match["hours"]) * 3600 + int(match["minutes"]) * 60 + float(match["seconds"]) if match else None


def _rotation(lines: Sequence[str]) -> float:
    mapping = _first(_MAPPING, lines)
    match = _first(_ROTATION, _stream_lines(lines, mapping["stream"])) if mapping else None
    return float(match["degrees"]) if match else 0.0


def _stream_lines(lines: Sequence[str], stream: str) -> list[str]:
    """Return what the input's description says below the line of one stream."""
    below: list[str] = []
    inside = False
    for line in lines:
        if line.startswith("[info] Stream mapping:"):
            break
        if re.match(r"^\[info\] +Stream #0:", line):
            inside = re.match(rf"^\[info\] +Stream #0:{stream}\b", line) is not None
        elif inside:
            below.append(line)
    return below
