"""What ffmpeg complains of while it reads a video, and which of it touches the frames.

Everything that ffmpeg calls an error counts as damage, unless it is listed here: by the component that says it, which
no file can choose, and by its whole text. A file that holds such a text somewhere gains a warning by it and hides
nothing.
"""

import re

from framencc.ffmpeg import WORK_BEGINS, is_error
from framencc.sources.packets import Take
from framencc.sources.probe import VideoProbe, wanted_layout
from framencc.sources.wanted import Wanted

# How the input calls itself: since ffmpeg 8, and before.
_INPUT = r"in#0(?:/.*)?"
_SEI = "damaged supplementary messages (SEI)"
_DOLBY = "damaged Dolby Vision metadata"
_EXIF = "damaged EXIF metadata"
_APP = "damaged application segments (APP) of its JPEG frames"
_CHAPTERS = "damaged chapters"
_INVALID = "Invalid data found when processing input"
# (component, text, what it is about): complaints after which the decoded samples are the same as without their cause.
# Compiled when the first of them is heard: few files have any.
_HARMLESS = (
    (_INPUT, r"Referenced QT chapter track not found", "a missing chapter track"),
    (_INPUT, r"Chapter end time -?\d+ before start -?\d+", _CHAPTERS),
    ("h264|hevc", r"SEI type \d+ (?:size \d+ )?truncated at -?\d+", _SEI),
    ("h264|hevc", r"SEI type \d+ overread by \d+ bits", _SEI),
    ("h264", r"Picture timing SEI payload too large", _SEI),
    ("h264", r"Error processing (?:the|a) picture timing SEI", _SEI),
    ("h264", r"non-existing SPS \d+ referenced in buffering period", _SEI),
    ("hevc", r"num_sps_ids_minus1 -?\d+ invalid", _SEI),
    ("hevc", r"active_parameter_set_id \d+ invalid", _SEI),
    ("vvc", rf"Failure to parse \w+ SEI \d+: {_INVALID}", _SEI),
    ("hevc|av1|libdav1d", r"RPU validation failed: [\w\[\]>.-]+ <= [\w\[\]>.-]+ = -?\d+ <= [\w\[\]>. -]+", _DOLBY),
    ("hevc|av1|libdav1d", r"RPU CRC mismatch: [0-9A-F]+", _DOLBY),
    ("hevc|av1|libdav1d", r"(?:Unsupported|Unexpected) RPU format(?: 0x[0-9a-f]+)?", _DOLBY),
    ("mjpeg", r"app: invalid len -?\d+", _APP),
    ("mjpeg", rf"unable to decode APP fields: {_INVALID}", _APP),
    ("mjpeg", r"mjpeg: error, decode_app parser read over the end", _APP),
    ("mjpeg", r"Invalid (?:ICC_PROFILE header|sequence number|number of markers coded) in APP2", _APP),
    ("mjpeg", r"Mismatch(?:ing sequence number and| in) coded number of ICC markers(?: between markers)?", _APP),
    ("mjpeg", r"Duplicate ICC sequence number", _APP),
    ("mjpeg", r"Read more ICC markers than are supposed to be coded", _APP),
    ("mjpeg", rf"invalid TIFF header in EXIF data: {_INVALID}", _EXIF),
    ("mjpeg", r"not enough bytes remaining in EXIF buffer(?:: 2 required|\. entries: \d+)", _EXIF),
    ("mjpeg", rf"(?:error decoding|could not parse) EXIF data: {_INVALID}", _EXIF),
    ("mjpeg", rf"[uU]nable to (?:parse|process) EXIF (?:buffer|frame data)(?:: {_INVALID})?", _EXIF),
    # The raw output has no times, so those that meet in its coarse unit, or go back, do no harm.
    ("rawvideo|null", r"Application provided invalid, non monotonically increasing dts to muxer in stream 0.*", ""),
)
# Formats that an APP segment has no say in; of others, an Adobe segment decides what their channels mean.
_PLAIN_JPEG = re.compile(r"yuvj?4(?:11|20|22|40)p|gray")
# Who speaks before the input is open, or beside the decoders: the input, ffmpeg's own stages, filters and outputs.
_NO_DECODER = rf"{_INPUT}|(?:file|AVIOContext|out|vf|vost|vist|fc|graph|Parsed_|auto_|dec:|enc:|rawvideo|null).*"
_OPENED = WORK_BEGINS.partition(" ")[2]
_SUSPECT = re.compile(r"corrupt input packet in stream \d+")
# HEVC: parts of a frame that cannot be read are passed over; the first 32 kinds hold samples.
_SKIPPED = re.compile(r"Skipping invalid undecodable NALU: (?P<part>\d+)")
_LAST_HEVC_SLICE = 31
_CONCEALED = re.compile(r"concealing \d+ DC, \d+ AC, \d+ MV errors in \w frame")
# Where H.264 is decoded from a key frame in the middle, what follows may still dismiss frames from before it, of which
# the decoder holds 16 at most. A frame that is lost has a complaint of its own.
_DISMISSED = "mmco: unref short failure"
_MOST_DISMISSED = 16
# What splits the input into packets reads those as well that the decoder is not given, and may not have seen the
# parameters that they need: where decoding begins in the middle, later than ffmpeg looks ahead.
_UNKNOWN_PARAMETERS = {
    "h264": re.compile(r"non-existing PPS \d+ referenced"),
    "hevc": re.compile(r"PPS id out of range: \d+"),
}
_RECONFIGURED = re.compile(r"Reconfiguring filter graph(?: because (?P<reasons>.*))?$")
_PARAMETERS = re.compile(
    r"video parameters changed to (?P<format>\w+)\((?P<colour>.*)\), (?P<width>\d+)x(?P<height>\d+)"
    r"(?:, (?P<alpha>\w+) alpha)?(?P<others>.*)$"
)


class Complaints:
    """Judges what one child says while it reads a video. Its thread asks, so all that is kept here only grows.

    Parameters
    ----------
    probe
        What is known of the video.
    wanted
        What is taken out of each frame.
    take
        What of the stream the decoder is given, from a key frame in its middle on; None: all of it.

    Attributes
    ----------
    change
        How the frames become others than the first ones, once they do.
    suspects
        Whether the demuxer has called a packet corrupt. Which, only a list of all packets tells.
    turns
        Whether frames have said something new of how they are to be turned. What, only `Orientation` tells.
    """

    def __init__(self, probe: VideoProbe, wanted: Wanted, take: Take | None = None) -> None:
        self._probe = probe
        self._wanted = wanted
        self._harmless: dict[str, None] = {}
        self._is_open = False
        self._ahead: set[str] = set()
        self._n_dismissed = _MOST_DISMISSED if take is None else 0
        self._splitter: str | None = None
        self._n_withheld = 0 if take is None else take.first or 0
        self.change: str | None = None
        self.suspects = False
        self.turns = False

    @property
    def harmless(self) -> tuple[str, ...]:
        """What was complained of that touches no frame, each once."""
        return tuple(self._harmless)

    def is_damage(self, level: str, text: str, component: str) -> bool:
        """Tell whether a message means that frames may be other than they were; see `FfmpegChild`."""
        if level == "info":
            self._is_open |= text == _OPENED
            if _CONCEALED.fullmatch(text):
                return self._is_open
            match = _RECONFIGURED.match(text)
            return match is not None and self._is_changed(match["reasons"] or "")
        if level == "warning":
            self.suspects |= _SUSPECT.fullmatch(text) is not None
            skipped = _SKIPPED.fullmatch(text)
            if skipped is not None:
                is_slice = int(skipped["part"]) <= _LAST_HEVC_SLICE
                return is_slice and self._is_open and component not in self._ahead
            return text.startswith("corrupt decoded frame")
        if not is_error(level, text):
            return False
        name = component.partition(" @ ")[0]
        if self._is_decoder(name):
            # Until the input is open this is a look ahead, of which no frame is kept: all of it is decoded again. Its
            # decoder serves afterwards to split the input into packets, which the real one is then given.
            if not self._is_open:
                self._ahead.add(component)
            if component in self._ahead:
                return False
            if name == "h264" and text == _DISMISSED and self._n_dismissed < _MOST_DISMISSED:
                self._n_dismissed += 1
                return False
            if self._is_of_withheld(name, text, component):
                return False
        else:
            name = "in#0" if name == self._container else name
        return not self._is_harmless(name, text)

    def _is_of_withheld(self, name: str, text: str, component: str) -> bool:
        """Whether this is about one of the packets before the first that is decoded."""
        pattern = _UNKNOWN_PARAMETERS.get(name)
        if self._n_withheld == 0 or pattern is None or not pattern.fullmatch(text):
            return False
        self._splitter = self._splitter or component
        if component != self._splitter:
            return False
        self._n_withheld -= 1
        return True

    def _is_decoder(self, name: str) -> bool:
        """Whether a decoder speaks, of this stream or another, and not the input itself."""
        return bool(name) and name != self._container and not re.fullmatch(_NO_DECODER, name)

    @property
    def _container(self) -> str | None:
        """Name under which the input may speak; that of a raw stream is its decoder's."""
        details = self._probe.info.details or {}
        name = details.get("container")
        return None if name == details.get("codec") else str(name)

    def _is_harmless(self, name: str, text: str) -> bool:
        pixel_format = str((self._probe.info.details or {}).get("pixel_format"))
        if name == "mjpeg" and not _PLAIN_JPEG.fullmatch(pixel_format):
            return False
        for known, shape, about in _HARMLESS:
            if re.fullmatch(known, name) and re.fullmatch(shape, text):
                if about:
                    self._harmless[about] = None
                return True
        return False

    def _is_changed(self, reasons: str) -> bool:
        """Whether frames are others from here on, for any reason but another name for what they were."""
        if reasons == "display matrix changed":
            self.turns = True
            return False
        match = _PARAMETERS.match(reasons)
        if match is not None and not self._is_other(match):
            return False
        if match is not None:
            change = f"the picture changes to {match['width']} x {match['height']}, {match['format']}"
            change += f" ({match['colour']})" if match["colour"] else ""
        else:
            change = f"the picture changes: {reasons or 'ffmpeg does not say how'}"
        self.change = self.change or change
        return True

    def _is_other(self, match: re.Match[str]) -> bool:
        layout = self._probe.layout
        return (
            match["others"] != ""
            or (int(match["width"]), int(match["height"])) != self._probe.decoded_size
            or wanted_layout(match["format"], self._wanted) != layout
            or ("a" in layout.planes and match["alpha"] not in (None, "unspecified"))
            or self._is_other_colour(match["colour"])
        )

    def _is_other_colour(self, named: str) -> bool:
        """Whether codes mean something else from here on: ``tv, bt709/...`` as ffmpeg names it."""
        details, conversion = self._probe.info.details or {}, self._probe.info.conversion
        words = [word.strip() for word in named.replace("/", ",").split(",")]
        if (words[0] == "pc") != (details["colour_range"] == "pc"):
            return True
        return conversion is not None and conversion.kind == "RGB from YUV" and words[1:2] != [details["colour_space"]]
