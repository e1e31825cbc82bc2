"""What can be asked for: THE home of every option's name, default, range, choices and help text.

Command-line flags, the JSON Schema and the commented default config are generated from these models.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from framencc.sequences import FRAME_NUMBER_PATTERN, is_sequence_pattern, refuse_other_notation
from framencc.spec.limits import MAX_FRAME_NUMBER, LimitsSpec
from framencc.spec.model import Model
from framencc.spec.ncc import NccSpec
from framencc.spec.output_format import Codec, Encoding, OutputFormatSpec, PreviewStyle
from framencc.spec.scores import MEAN, MINIMUM, ScoresSpec
from framencc.spec.verification import Verification, verification_of_switch
from framencc.spec.warp import WarpSpec
from framencc.values import Integer, path_text, rate

__all__ = [
    "FIELD_OUTPUT_SUFFIXES",
    "FRAME_NUMBER_PATTERN",
    "MAX_FRAME_NUMBER",
    "MEAN",
    "MINIMUM",
    "PATH_FIELDS",
    "PICTURE_OUTPUT_SUFFIXES",
    "VIDEO_OUTPUT_SUFFIXES",
    "WRITTEN_FIELDS",
    "Codec",
    "Encoding",
    "LimitsSpec",
    "NccSpec",
    "OutputFormatSpec",
    "PreviewStyle",
    "RunSpec",
    "ScoresSpec",
    "Verification",
    "WarpSpec",
    "is_sequence_pattern",
    "leaf_fields",
    "parse_frame_rate",
    "parse_frames",
    "require_field_output",
    "require_lossless_output",
    "resolve_encoding",
    "verification_of_switch",
]

VIDEO_OUTPUT_SUFFIXES = (".mkv", ".mp4", ".mov")
PICTURE_OUTPUT_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
FIELD_OUTPUT_SUFFIXES = (".npy", ".flo", ".exr")
WRITTEN_FIELDS = (
    *("output", "validity", "warped", "fields", "preview"),
    *("scores.path", "scores.temporal_minimum", "scores.temporal_mean"),
)
PATH_FIELDS = ("input", "reference", "ncc.mask", "warp.field", "scores.regions", *WRITTEN_FIELDS)

MIN_FRAME_RATE, MAX_FRAME_RATE = Fraction(1, 86400), 1_000_000


class RunSpec(Model):
    """One job: the maps of one input against one reference, into one output."""

    input: str = Field(
        min_length=1,
        description="a video, a directory of images, a glob, a frame number pattern (frame_%04d.png, frame_%d.png, or "
        "frame.$F4.png and the like) or an (N, H, W) .npy",
        examples=["take01.mp4"],
    )
    output: str = Field(
        min_length=1,
        description=".mkv (FFV1 lossless), .mp4 or .mov (H.264), dir/%06d.png, .tif or .npy (one file a frame), or "
        "one .npy array",
        examples=["out/take01.mkv"],
    )
    reference: int | str = Field(
        description="a picture's path, or the index of a frame of the input", examples=["neutral.png"]
    )
    validity: str | None = Field(
        None,
        min_length=1,
        description="a second output: why each pixel has no measured value, as codes 0 to 9 (docs/definition.md); .mkv "
        "(FFV1), dir/%06d.png, .tif or .npy, or one .npy array",
        examples=["out/take01_validity.mkv"],
    )
    warped: str | None = Field(
        None,
        min_length=1,
        description="another output: the warped frames that were correlated, integer codes scaled to 16 bits (8-bit "
        "ones times 256); names as for validity",
        examples=["out/take01_warped.mkv"],
    )
    fields: str | None = Field(
        None,
        min_length=1,
        description="another output: the displacement fields, dir/%06d.npy, .flo or .exr, or one .npy array; as "
        "warp.field they give the same maps again (without forward_backward)",
        examples=["out/flow/%06d.flo"],
    )
    preview: str | None = Field(
        None,
        min_length=1,
        description="another output: a video to look at, .mp4, .mov or .mkv (H.264), drawn in the same pass; "
        "output_format.preview_style says how",
        examples=["out/take01_preview.mp4"],
    )
    frames: str | None = Field(
        None,
        description="frames to process, start:stop or start:stop:step, half-open, from 0, numbers up to "
        f"{MAX_FRAME_NUMBER}; unset: all",
        examples=["0:300"],
    )
    frame_rate: str | None = Field(
        None,
        description="frames per second of an image sequence or array, as 25 or 30000/1001, from "
        f"{MIN_FRAME_RATE} to {MAX_FRAME_RATE}; unset: 25; a video has its own",
        examples=["30000/1001"],
    )
    input_bits: Integer | None = Field(
        None,
        ge=1,
        le=16,
        description="significant bits of the input's integer samples, 1 to 16, such as 12 for a 12-bit camera's codes "
        "in files of 16; unset: as the file says (of a video its pixel format), or else as its largest codes show",
        examples=[12],
    )
    reference_bits: Integer | None = Field(
        None,
        ge=1,
        le=16,
        description="the same of a reference that is a picture; a frame of the input is as the input",
        examples=[12],
    )
    allow_gaps: bool = Field(False, description="accept an image sequence with missing numbers")
    tolerant: bool = Field(
        False,
        description="go on over damage: frames that are missing or cannot be relied on keep their place and are marked "
        "invalid",
    )
    overwrite: bool = Field(False, description="replace an existing output")
    resume: bool = Field(
        False,
        description="go on with a run of the same job that was cut off; where there is none, begin; where it is "
        "finished, do nothing",
    )
    segment_frames: Integer = Field(
        256,
        ge=1,
        le=MAX_FRAME_NUMBER,
        description="maps are sealed in segments of so many: what a run that is cut off has to do again at most",
    )
    verify: Annotated[Verification, BeforeValidator(verification_of_switch)] = Field(
        "packets",
        description="how outputs are checked before they take their names. packets: every packet or file is compared "
        "with what the encoder gave, and the first and last frame of each segment are decoded; full: every frame is "
        "decoded; off: nothing is checked. true means full (as does --verify alone), false means off (--no-verify)",
    )
    threads: Integer | None = Field(
        None,
        ge=1,
        description="threads of the kernels, of OpenCV, and of each video codec; unset: NUMBA_NUM_THREADS or all cores",
        examples=[2],
    )
    ncc: NccSpec = NccSpec()
    warp: WarpSpec = WarpSpec()
    scores: ScoresSpec = ScoresSpec()
    output_format: OutputFormatSpec = OutputFormatSpec()
    limits: LimitsSpec = LimitsSpec()

    @field_validator("input", "output", "validity", "warped", "fields", "preview", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return path_text(value)

    @field_validator("reference", mode="before")
    @classmethod
    def _reference_is_index_or_path(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a picture's path or a frame index")
        if isinstance(value, str) and not value:
            raise ValueError("must be a picture's path or a frame index, not empty")
        if isinstance(value, int) and value < 0:
            raise ValueError("a frame index counts from 0")
        if isinstance(value, int) and value > MAX_FRAME_NUMBER:
            raise ValueError(f"a frame index is at most {MAX_FRAME_NUMBER}")
        return path_text(value)

    @field_validator("frames")
    @classmethod
    def _frames_parse(cls, frames: str | None) -> str | None:
        if frames is not None:
            parse_frames(frames)
        return frames

    @field_validator("frame_rate", mode="before")
    @classmethod
    def _frame_rate_parses(cls, given: object) -> str | None:
        if given is None:
            return None
        parse_frame_rate(given)
        return str(given)

    @model_validator(mode="after")
    def _outputs_fit(self) -> Self:
        for name, path in self.targets.items():
            numbered = name in self.outputs and Path(path).suffix.lower() not in VIDEO_OUTPUT_SUFFIXES
            try:
                refuse_other_notation(path, numbered=numbered)
            except ValueError as error:
                raise ValueError(f"{name} {path!r} {error}") from None
        resolve_encoding(self.output, self.output_format)
        for name in (MINIMUM, MEAN):
            if (path := getattr(self.scores, name)) is not None and is_sequence_pattern(path):
                raise ValueError(f"scores.{name} {path!r} is one picture: its name takes no frame number")
        for name in ("validity", "warped"):
            if (path := getattr(self, name)) is not None:
                require_lossless_output(path, name)
        if self.fields is not None:
            require_field_output(self.fields)
        if self.preview is not None and Path(self.preview).suffix.lower() not in VIDEO_OUTPUT_SUFFIXES:
            raise ValueError(f"preview {self.preview!r} must end in one of {', '.join(VIDEO_OUTPUT_SUFFIXES)}")
        for name in ("warped", "fields"):
            if getattr(self, name) is not None and self.warp.method == "none":
                raise ValueError(f"{name} cannot apply to warp.method = none: the frames are not warped")
        if self.warped is not None and self.ncc.channel == "joint":
            raise ValueError("warped cannot apply to ncc.channel = joint: a file of it holds one channel")
        return self

    @model_validator(mode="after")
    def _labels_need_a_mask(self) -> Self:
        if self.ncc.mask_labels is not None and self.ncc.mask is None:
            raise ValueError("ncc.mask_labels needs ncc.mask: there is no mask whose labels could be chosen")
        return self

    @property
    def outputs(self) -> dict[str, str]:
        """The paths of what the job writes frame by frame, by the names of their options."""
        named = {name: getattr(self, name) for name in ("output", "validity", "warped", "fields", "preview")}
        return {name: path for name, path in named.items() if path is not None}

    @property
    def results(self) -> dict[str, str]:
        """The paths of what the job writes once all frames are done, but for the sidecar, by their names there."""
        scores = self.scores
        named = {"scores": scores.path, MINIMUM: scores.temporal_minimum, MEAN: scores.temporal_mean}
        return {name: path for name, path in named.items() if path is not None}

    @property
    def targets(self) -> dict[str, str]:
        """The paths of everything that the job writes, but for the sidecar."""
        return self.outputs | self.results

    @property
    def encoding(self) -> Encoding:
        """The encoding that the output will have: the one asked for, or its name's own."""
        return resolve_encoding(self.output, self.output_format)

    @property
    def preview_size(self) -> int:
        """The longest side that a preview may have in pixels: the one asked for, or its style's own."""
        options = self.output_format
        return options.preview_size or (1920 if options.preview_style == "panel" else 960)

    @property
    def codec(self) -> Codec | None:
        """The codec that the output will have: the one asked for, or its name's own; None where it is no video."""
        return self.codec_of("output")

    def codec_of(self, name: str) -> Codec | None:
        """Return the codec of one of the `outputs`; None where it is no video."""
        suffix = Path(self.outputs[name]).suffix.lower()
        if suffix not in VIDEO_OUTPUT_SUFFIXES:
            return None
        if name == "output":
            return self.output_format.codec or ("ffv1" if suffix == ".mkv" else "h264")
        return "h264" if name == "preview" else "ffv1"


def parse_frame_rate(given: object) -> Fraction:
    """Read a number of frames per second; `framencc.values.rate` says how exactly.

    Raises
    ------
    ValueError
        When it is no number from MIN_FRAME_RATE to MAX_FRAME_RATE.
    """
    try:
        parsed = rate(str(given))
    except ValueError:
        parsed = Fraction(0)
    if isinstance(given, bool) or not MIN_FRAME_RATE <= parsed <= MAX_FRAME_RATE:
        raise ValueError(
            f"must be frames per second, such as 25 or 30000/1001, not {given!r}; {MIN_FRAME_RATE} to "
            f"{MAX_FRAME_RATE} can be had"
        )
    return parsed


def parse_frames(text: str) -> slice:
    """Read ``start:stop[:step]``.

    Raises
    ------
    ValueError
        When the text is no half-open range of frames from 0 with a positive step.
    """
    match = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*(?::\s*(\d*)\s*)?", text)
    if match is None:
        raise ValueError(f"must be start:stop or start:stop:step, counted from 0, not {text!r}")
    start, stop, step = (int(part) if part else None for part in match.groups())
    if max(start or 0, stop or 0, step or 0) > MAX_FRAME_NUMBER:
        raise ValueError(f"frame numbers go up to {MAX_FRAME_NUMBER}")
    if step == 0:
        raise ValueError("the step must be at least 1")
    if stop is not None and stop <= (start or 0):
        raise ValueError(f"selects no frame: {text!r}")
    return slice(start or 0, stop, step or 1)


def require_field_output(path: str) -> None:
    """Refuse a file name that no displacement fields can be written to.

    Raises
    ------
    ValueError
        When it is none of a numbered .npy, .flo or .exr, or one .npy.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FIELD_OUTPUT_SUFFIXES or (suffix != ".npy" and not is_sequence_pattern(path)):
        raise ValueError(
            f"fields {path!r} must be dir/%06d with one of {', '.join(FIELD_OUTPUT_SUFFIXES)}, or one .npy"
        )


def require_lossless_output(path: str, name: str) -> None:
    """Refuse a file name whose format would change the codes of the output `name`.

    Raises
    ------
    ValueError
        When it is none of .mkv, .npy, or a numbered .png, .tif or .npy.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".mkv", *PICTURE_OUTPUT_SUFFIXES):
        raise ValueError(
            f"{name} {path!r} must end in .mkv, or be dir/%06d with one of {', '.join(PICTURE_OUTPUT_SUFFIXES)}, or "
            f"one .npy: codes need a lossless format"
        )
    _require_number(path, suffix, name)


def _require_number(path: str, suffix: str, name: str) -> None:
    if suffix in PICTURE_OUTPUT_SUFFIXES and suffix != ".npy" and not is_sequence_pattern(path):
        raise ValueError(f"{name} {path!r} needs a frame number in its name, such as dir/%06d{suffix}")


def resolve_encoding(output: str, output_format: OutputFormatSpec) -> Encoding:
    """Find the encoding of an output, and refuse what its container cannot hold.

    Raises
    ------
    ValueError
        When the name tells no supported output or the format does not fit it.
    """
    suffix = Path(output).suffix.lower()
    if suffix not in VIDEO_OUTPUT_SUFFIXES + PICTURE_OUTPUT_SUFFIXES:
        raise ValueError(
            f"output {output!r} must end in one of {', '.join(VIDEO_OUTPUT_SUFFIXES)}, or be dir/%06d with one of "
            f"{', '.join(PICTURE_OUTPUT_SUFFIXES)}, or one .npy"
        )
    _require_number(output, suffix, "output")
    encoding: Encoding = output_format.encoding or ("float" if suffix in (".npy", ".tif", ".tiff") else "clip")
    if encoding == "float" and suffix not in (".npy", ".tif", ".tiff"):
        raise ValueError(f"output_format.encoding = float cannot be held by {suffix}; use .npy or .tif")
    codec = output_format.codec
    if codec is not None and suffix not in VIDEO_OUTPUT_SUFFIXES:
        raise ValueError(f"output_format.codec = {codec} needs a video output, not {suffix}")
    if codec == "ffv1" and suffix != ".mkv":
        raise ValueError(f"output_format.codec = ffv1 needs .mkv, not {suffix}")
    if output_format.bits == 16 and (codec == "h264" or suffix in (".mp4", ".mov")):
        raise ValueError("output_format.bits = 16 cannot be held by H.264; use .mkv with codec ffv1")
    return encoding


def leaf_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every option below `model` as its dotted name and its field."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from leaf_fields(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field
