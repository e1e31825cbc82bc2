"""What a video is, found by decoding its first frame with a short-lived ffmpeg."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from framencc.channels import DEFAULT_MATRIX
from framencc.errors import FramenccError, SourceError, SpecError, UnreadableNowError
from framencc.ffmpeg import FRAME_STAMPS, INPUT_SAFETY, FfmpegChild, FrameStamp, file_url
from framencc.frames import CodeRange, StreamInfo
from framencc.sources.codecs import ALPHA_DECODERS, ALPHA_LOSS, LOSSY_ALPHA, raw_decoder, why_undecoded
from framencc.sources.containers import NOTHING, Promise, read_promise, read_separate_alpha
from framencc.sources.facts import DESCRIBE, NO_METADATA, SHOWINFO, StreamFacts, VideoFacts
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.pixel_formats import Layout, find_layout
from framencc.sources.planes import ChannelPlanes, MaskPlanes
from framencc.sources.selection import DEFAULT_FRAME_RATE
from framencc.sources.wanted import Wanted, WantedChannels, WantedMask
from framencc.values import MAX_PIXELS

# ffmpeg applies the rotation that a file asks for unless told not to: sizes are those of the picture as displayed.
# `V` leaves out cover art. Output time stamps are never used, so passthrough only keeps frames from being dropped.
STREAM_CHOICE = ("-map", "0:V:0", "-an", "-sn", "-dn", "-fps_mode", "passthrough", *NO_METADATA)

# Inputs without a clock, by ffmpeg's names: only the order of the pictures, and their rate, can be known.
_TIMELESS = ("avi", "h264", "hevc", "mpegvideo", "m4v", "av1", "obu")
_BLOCKS_BEYOND = 1 << 16
# ffmpeg's names of the equations between YUV and RGB that are known here (H.273, table 4).
_MATRICES = {"bt709": "bt709", "smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}
UNKNOWN_MATRIX = "unknown"
# Their absence from an ffmpeg makes a good file look like none. Names are ffmpeg's demuxers.
_DEMUXERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "mxf")


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
    decoder
        Options that choose a decoder, where it is not the usual one.
    """

    info: StreamInfo
    layout: Layout
    planes: ChannelPlanes | MaskPlanes
    decoded_size: tuple[int, int]
    promise: Promise = NOTHING
    timeless: bool = False
    decoder: tuple[str, ...] = ()


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
    bits: int | None = None,
    options: Sequence[str] = (),
) -> VideoProbe:
    """Decode the first frame of a video, or of a take of it (`Take.options`), and say what it is.

    Raises
    ------
    SpecError
        When it does not have what is wanted, or fewer than `bits` significant bits.
    SourceError
        When there is no frame that can be decoded and whose samples can be had unchanged.
    """
    look = _Look(path, stall_seconds, memory_mib, limits, tuple(options))
    first = look.first_frame()
    if _wants_alpha(wanted):
        first = look.with_alpha(first)
    facts, frame, stamp = first.facts, first.frame, first.stamp
    _refuse_tiles(path, facts)
    layout = _require_layout(path, frame["format"], wanted)
    width, height = int(frame["width"]), int(frame["height"])
    limits.check_pixels(height, width, f"input {path!r}")
    details = _details(facts, first)
    is_yuv = layout.planes.startswith("y") and not layout.is_gray
    matrix = _yuv_matrix(str(details["colour_space"]), width, height) if is_yuv else None
    try:
        loss = ALPHA_LOSS if first.stream.codec in LOSSY_ALPHA else 0
        planes = _planes(layout, wanted, matrix, details, loss)
    except ValueError as error:
        raise SpecError(f"input {path!r} {error}") from None
    promise, timeless = _promise_of(path, first, details)
    rate = _frame_rate(facts.rate)
    duration = details["duration_seconds"]
    info = StreamInfo(
        height=height,
        width=width,
        dtype=planes.dtype,
        n_frames=promise.n_frames,
        frame_rate=rate,
        code_range=_code_range(layout, planes, wanted, details, bits),
        time_base=stamp.time_base if stamp else None,
        n_channels=planes.n_channels,
        matrix=matrix,
        conversion=planes.conversion,
        pixel_aspect=_pixel_aspect(frame["sar"]),
        details=details
        | {
            "estimated_frames": round(duration * rate) if isinstance(duration, float) else None,
            "rotation_degrees": first.stream.rotation,
        },
    )
    info = replace(info, warnings=_warnings(path, facts, info))
    size = (height, width) if round(first.stream.rotation) % 180 else (width, height)
    return VideoProbe(info, layout, planes, size, promise, timeless, first.decoder)


def _require_layout(path: str, pixel_format: str, wanted: Wanted) -> Layout:
    layout = wanted_layout(pixel_format, wanted)
    if layout is None:
        kind = "raw sensor data (Bayer)" if pixel_format.startswith("bayer") else "samples"
        raise SourceError(
            f"input {path!r} has pixel format {pixel_format}, whose {kind} cannot be read unchanged; "
            f"convert it to an integer YUV, gray or RGB format"
        )
    return layout


@dataclass(frozen=True, slots=True)
class _First:
    """The first frame of a video: what was said of it and of its stream, and how it was decoded."""

    facts: VideoFacts
    frame: Mapping[str, str]
    stream: StreamFacts
    stamp: FrameStamp | None
    decoder: tuple[str, ...]

    @property
    def track(self) -> int:
        """Place of its stream among the file's video streams, images about the file left out."""
        return [stream.number for stream in self.facts.streams if not stream.is_cover].index(self.stream.number)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at a file by short-lived children."""

    path: str
    stall_seconds: float
    memory_mib: int | None
    limits: SizeLimits
    options: tuple[str, ...] = ()

    def first_frame(self) -> _First:
        """Decode the first frame, by any decoder that there is."""
        first, child = self._decode(())
        if first is not None:
            return first
        streams = self._describe()
        stream = next((stream for stream in streams if not stream.is_cover), None)
        decoder = () if stream is None else raw_decoder(stream)
        if decoder:
            first, child = self._decode(decoder)
            if first is not None:
                return first
        unknown = bool(child.errors) and child.errors[0].endswith("Invalid data found when processing input")
        if (problem := child.fault_of_program(_DEMUXERS if unknown else ())) is not None:
            raise FramenccError(problem)
        raise SourceError(f"input {self.path!r} cannot be read as a video: {_why(child, streams, stream)}")

    def with_alpha(self, first: _First) -> _First:
        """Decode a first frame again with the alpha that its decoder has passed over; itself where that is all."""
        kind = read_separate_alpha(self.path, first.track)
        if kind == "image":
            raise SpecError(
                f"input {self.path!r} stores its alpha as an image of its own (AVIF, HEIF), which framencc does not "
                f"read; convert it to PNG"
            )
        codec = first.stream.codec
        if kind is None or codec not in ALPHA_DECODERS:
            return first
        again, _ = self._decode(("-c:v", ALPHA_DECODERS[codec]))
        if again is None:
            raise SpecError(
                f"input {self.path!r} stores its alpha as a second picture beside each frame ({codec.upper()}), which "
                f"this ffmpeg does not read: it has no working decoder {ALPHA_DECODERS[codec]}; convert it to a format "
                f"with an alpha channel of its own, such as FFV1 or ProRes 4444"
            )
        return again

    def _decode(self, decoder: tuple[str, ...]) -> tuple[_First | None, FfmpegChild]:
        one = (*FRAME_STAMPS, "-vf", f"{SHOWINFO}=checksum=0", "-frames:v", "1", "-f", "null", "-")
        opening = input_arguments(self.path, self.limits, (*self.options, *decoder))
        facts, child, stamp = self._run((*opening, *one, *DESCRIBE))
        frame, stream = facts.frame, facts.stream
        if frame is None or stream is None:
            return None, child
        return _First(facts, frame, stream, stamp, decoder), child

    def _describe(self) -> list[StreamFacts]:
        """List the video streams of a file of which nothing can be decoded."""
        # What chooses a stream to decode, and would fail again, stands behind the file.
        opening = input_arguments(self.path, self.limits)[: -len(STREAM_CHOICE)]
        return self._run((*opening, *DESCRIBE))[0].streams

    def _run(self, arguments: tuple[str, ...]) -> tuple[VideoFacts, FfmpegChild, FrameStamp | None]:
        facts = VideoFacts()
        options = {"stall_seconds": self.stall_seconds, "memory_mib": self.memory_mib}
        with FfmpegChild(arguments, on_line=facts.hear, **options) as child:  # type: ignore[arg-type]
            status = child.finish()
            if child.stalled or child.short_of_memory or (status < 0 and facts.frame is None and not child.errors):
                if (problem := child.fault_of_program()) is not None:
                    raise FramenccError(problem)
                raise UnreadableNowError(f"input {self.path!r} cannot be read: {child.explain().rstrip('.')}")
            return facts, child, child.next_stamp()


def _promise_of(path: str, first: _First, details: Mapping[str, object]) -> tuple[Promise, bool]:
    """Return what the container promises, and whether frames have no times of their own."""
    promise = read_promise(path, first.stream.number)
    if details["interlaced"]:
        promise = replace(promise, n_frames=None)  # each of a frame's two fields may be stored by itself
    timeless = details["container"] in _TIMELESS and (first.stamp is None or first.stamp.pts_seconds is None)
    if timeless and promise.has_holes:
        raise SourceError(
            f"input {path!r} leaves places between its pictures empty and does not say which, so the times of its "
            f"frames are not known; convert it to .mkv"
        )
    return promise, timeless


def _wants_alpha(wanted: Wanted) -> bool:
    return wanted.alpha if isinstance(wanted, WantedChannels) else True


def _planes(
    layout: Layout,
    wanted: Wanted,
    yuv_matrix: str | None,
    details: dict[str, str | int | float | bool | None],
    alpha_loss: int,
) -> ChannelPlanes | MaskPlanes:
    limited, _ = _find_range(details, wanted)
    if isinstance(wanted, WantedMask):
        if str(details["pixel_format"]).startswith("ya"):
            raise ValueError("has an alpha channel that cannot be read; store the mask without one")
        # Gray that does not say has its codes taken as they are.
        limited = details["colour_range"] == "tv" if layout.is_gray else limited
        return MaskPlanes(layout, wanted, limited=limited, alpha_loss=alpha_loss)
    assert isinstance(wanted, WantedChannels)
    matrix: str = wanted.rgb_matrix
    if matrix == "auto":
        if layout.planes.startswith("yuv") and wanted.channel != "luma" and yuv_matrix == UNKNOWN_MATRIX:
            raise ValueError(f"has colour space {details['colour_space']}, which is not known here; set ncc.rgb_matrix")
        known = yuv_matrix not in (None, UNKNOWN_MATRIX)
        matrix = str(yuv_matrix) if known else DEFAULT_MATRIX
    return ChannelPlanes(layout, wanted, matrix, limited=limited, alpha_loss=alpha_loss)


def _find_range(details: Mapping[str, object], wanted: Wanted) -> tuple[bool, Literal["stored", "option", "assumed"]]:
    """Tell whether a video's YUV codes are of limited range, and how that is known."""
    if isinstance(wanted, WantedChannels) and wanted.rgb_range != "auto":
        return wanted.rgb_range == "limited", "option"
    if details["colour_range"] in ("tv", "pc"):
        return details["colour_range"] == "tv", "stored"
    # As ffmpeg and every player assume.
    return not str(details["pixel_format"]).startswith("yuvj"), "assumed"


def _code_range(
    layout: Layout, planes: ChannelPlanes | MaskPlanes, wanted: Wanted, details: Mapping[str, object], bits: int | None
) -> CodeRange:
    """Return which codes of the wanted channels are black and white."""
    if bits is not None and bits > layout.bits:
        raise SpecError(f"input_bits = {bits} cannot apply: the input has {layout.bits}-bit samples")
    how: dict[str, Any] = {"bits_from": "stored" if bits is None else "option"}
    # Gray is of full range whatever is said, as ffmpeg reads and writes it, and so are red, green and blue.
    if layout.is_gray or not layout.planes.startswith("y"):
        return CodeRange.of_bits(bits or layout.bits, **how)
    limited, how["range_from"] = _find_range(details, wanted)
    return CodeRange.of_bits(bits or layout.bits, limited=limited and planes.conversion is None, **how)


def _yuv_matrix(colour_space: str, width: int, height: int) -> str:
    """Return which equations a YUV video keeps, by its word or, where it has none, by its size; or ``unknown``."""
    if colour_space in ("unknown", "reserved", "None"):
        return "bt709" if max(width, height) >= 1280 or min(width, height) > 576 else "bt601"
    return _MATRICES.get(colour_space, UNKNOWN_MATRIX)


def _why(child: FfmpegChild, streams: list[StreamFacts], stream: StreamFacts | None) -> str:
    """Say why no frame of a file could be decoded, as the end of a sentence."""
    if any("matches no streams" in error for error in child.errors):
        return "it holds no video stream, only images about it (cover art)" if streams else "it holds no video stream"
    if child.errors and child.errors[0].startswith("Format not on whitelist"):
        return "its format is none of the media containers that are read"
    if any("exceeds specified max pixel count" in error for error in child.errors):
        return "its pictures have far more pixels than limits.max_pixels allows"
    if stream is not None and (reason := why_undecoded(stream)) is not None:
        return reason
    if child.errors:
        return child.explain().rstrip(".")
    return "it holds no frame that can be decoded"


def _refuse_tiles(path: str, facts: VideoFacts) -> None:
    """Refuse a still image (HEIF, AVIF) whose first stream is only a part of it."""
    if facts.stream is not None and facts.stream.is_part:
        n_tiles = sum(stream.is_part for stream in facts.streams)
        raise SourceError(
            f"input {path!r} is a still image that is stored as a grid of {n_tiles} tiles, which framencc does not put "
            f"together; convert it to PNG"
        )


def _warnings(path: str, facts: VideoFacts, info: StreamInfo) -> tuple[str, ...]:
    """Say what a user should know of a video that can be read."""
    found = []
    videos = [stream for stream in facts.streams if not stream.is_cover]
    if len(videos) > 1:
        read, *others = sorted(videos, key=lambda stream: stream is not facts.stream)
        listed = [f"{stream.number} ({stream.size}, {stream.codec})" for stream in (read, *others[:3])]
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        found.append(
            f"input {path!r} holds {len(videos)} video streams; only stream {listed[0]} is read, not "
            f"{', '.join(listed[1:])}{more}"
        )
    if info.pixel_aspect != 1:
        across, down = info.display_size
        found.append(
            f"input {path!r} has pixels that are not square ({info.pixel_aspect.numerator}:"
            f"{info.pixel_aspect.denominator}): players show its {info.width} x {info.height} pixels as "
            f"{across} x {down}; framencc compares the stored pixels, so images for it need "
            f"{info.width} x {info.height}"
        )
    return tuple(found)


def _pixel_aspect(text: str) -> Fraction:
    """Read how many times as wide as high a pixel is; pixels of a video that does not say are square."""
    across, down = (int(part) for part in text.split("/"))
    return Fraction(across, down) if across > 0 and down > 0 else Fraction(1)


def _frame_rate(text: str | None) -> Fraction:
    numerator, denominator = (int(part) for part in text.split("/")) if text else (0, 0)
    return Fraction(numerator, denominator) if numerator and denominator else DEFAULT_FRAME_RATE


def _details(facts: VideoFacts, first: _First) -> dict[str, str | int | float | bool | None]:
    frame = first.frame
    details: dict[str, str | int | float | bool | None] = {
        "kind": "video",
        "container": facts.container,
        "codec": facts.codec,
        "video_streams": sum(not stream.is_cover for stream in facts.streams),
        "stream": first.stream.number,
        "pixel_format": frame["format"],
        "sample_aspect_ratio": frame["sar"].replace("/", ":"),
        "interlaced": frame["field"] != "P",
        "duration_seconds": facts.duration,
    }
    for name in ("range", "space", "primaries", "transfer"):
        details[f"colour_{name}"] = facts.colour[name] if facts.colour else None
    return details
