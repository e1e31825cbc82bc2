"""What can be asked for: THE home of every option's name, default, range, choices and help text.

Command-line flags, the JSON Schema and the commented default config are generated from these models.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from framencc.values import Integer, Real, path_text, rate, split_list, whole_number

VIDEO_OUTPUT_SUFFIXES = (".mkv", ".mp4", ".mov")
PICTURE_OUTPUT_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
# Of names such as done_100%done.npy nothing is a number: %d stands alone, and %% is never half a number.
FRAME_NUMBER_PATTERN = re.compile(r"(?<!%)%(?:[0-9]{1,3}d|d(?![A-Za-z]))")
PATH_FIELDS = ("input", "output", "reference", "validity", "ncc.mask")
GLOB_FIELDS = ("input", "ncc.mask")
MAX_LABEL = 65535

Encoding = Literal["clip", "signed", "float"]
Codec = Literal["ffv1", "h264"]
Border = Literal["shrink", "valid", "reflect"]
Channel = Literal["luma", "red", "green", "blue", "joint"]
Combine = Literal["mean", "min", "max"]
Alpha = Literal["ignore", "reference", "frame", "both"]
RgbMatrix = Literal["auto", "bt601", "bt709", "bt2020"]
RgbRange = Literal["auto", "limited", "full"]
MAX_RADIUS = 127
MAX_FRAME_NUMBER = 2**31 - 1
MAX_FLOAT = float((2 - Fraction(1, 2**23)) * 2**127)  # the largest float32, in which maps are
# Squares of smaller and of larger ones leave the range in which float32 is precise.
MIN_SIGMA, MAX_NOISE_SIGMA = 1e-6, 1e6
MIN_FRAME_RATE, MAX_FRAME_RATE = Fraction(1, 86400), 1_000_000

Radius = Annotated[Integer, Field(ge=1, le=MAX_RADIUS)]


class _Model(BaseModel):
    # NaN is a legal value of two options; as a JSON string it survives the sidecar.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class NccSpec(_Model):
    """How the correlation is computed (docs/definition.md)."""

    radius: Radius | tuple[Radius, ...] = Field(
        3,
        description=f"window radius in pixels, 1 to {MAX_RADIUS}; the window's side is 2 * radius + 1; of a list, such "
        "as [2, 3, 5], the maps are combined",
    )
    border: Border = Field(
        "shrink",
        description="shrink: the window is cut at the picture's edge; valid: pixels whose window leaves the picture "
        "are invalid; reflect: the picture is mirrored at its edges",
    )
    flat: Real = Field(
        0.0,
        description="value of a window without texture, -1 to 1 or nan, and the prior that noise_sigma moves towards",
    )
    noise_sigma: Real = Field(
        0.0,
        ge=0,
        le=MAX_NOISE_SIGMA,
        allow_inf_nan=False,
        description="standard deviation of the sensor noise in code values of the input; windows that hold little "
        f"more than noise move smoothly towards flat; 0: off, otherwise at least {MIN_SIGMA:g}",
    )
    mask: str | None = Field(
        None,
        min_length=1,
        description="a picture of the reference's size whose pixels above black are used, all others take no part in "
        "any window; or a sequence, video or (N, H, W) .npy that has such a picture for each frame of the input",
        examples=["face.png"],
    )
    mask_labels: tuple[Integer, ...] | None = Field(
        None,
        description="the mask's pixels of these labels are used, such as [1, 4]; unset: all above black",
        examples=[[1, 4]],
    )
    alpha: Alpha = Field(
        "ignore", description="whose alpha channel serves as a mask as well: pixels that are not wholly transparent"
    )
    min_valid_fraction: Real = Field(
        0.5, gt=0, le=1, description="share of a window's pixels in the picture that must be usable"
    )
    channel: Channel = Field(
        "luma", description="joint: red, green and blue together, each centred by its own mean, sums pooled"
    )
    rgb_matrix: RgbMatrix = Field(
        "auto",
        description="how luma and red, green and blue are related where one has to be computed from the other; auto: "
        "as the video says (unsaid: bt709 if its longer side has 1280 pixels or its shorter one more than 576, else "
        "bt601); without a YUV video bt601, as in JPEG files",
    )
    rgb_range: RgbRange = Field(
        "auto",
        description="range of a video's YUV codes where red, green and blue are computed from them; auto: as the video "
        "says (unsaid: limited)",
    )
    combine: Combine = Field("mean", description="how the maps of several radii become one, over those that measured")
    smooth_sigma: Real = Field(
        0.0,
        ge=0,
        le=MAX_RADIUS,
        description=f"Gaussian smoothing of the finished map, in pixels; 0: off, otherwise at least {MIN_SIGMA:g}",
    )
    fill: Real = Field(
        0.0,
        description="value of pixels without a measurement (masked, outside, not finite), within the range of "
        "float32, or nan",
    )

    @field_validator("radius", mode="before")
    @classmethod
    def _radius_is_one_or_several(cls, radius: object) -> object:
        several = split_list(radius)
        if several is not None and not several:
            raise ValueError("needs at least one radius")
        numbers = [_radius(value) for value in ([radius] if several is None else several)]
        return numbers[0] if several is None else tuple(numbers)

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_as_text(cls, value: object) -> object:
        return path_text(value)

    @field_validator("mask_labels", mode="before")
    @classmethod
    def _labels_are_a_list(cls, labels: object) -> object:
        if labels is None:
            return None
        several = split_list(labels)
        numbers = tuple(whole_number(label, 0, MAX_LABEL, "a label from") for label in several or [labels])
        if not numbers:
            raise ValueError("needs at least one label")
        return numbers

    @field_validator("flat")
    @classmethod
    def _flat_in_range(cls, flat: float) -> float:
        if not (math.isnan(flat) or -1 <= flat <= 1):
            raise ValueError("must be between -1 and 1, or nan")
        return flat

    @field_validator("fill")
    @classmethod
    def _fill_fits_a_map(cls, fill: float) -> float:
        if abs(fill) > MAX_FLOAT:
            raise ValueError("must be a finite number within the range of float32, or nan")
        return fill

    @field_validator("noise_sigma", "smooth_sigma")
    @classmethod
    def _sigma_can_be_squared(cls, sigma: float) -> float:
        if 0 < sigma < MIN_SIGMA:
            raise ValueError(f"must be 0 or at least {MIN_SIGMA:g}")
        return sigma

    @model_validator(mode="after")
    def _nan_prior_needs_no_noise(self) -> Self:
        if math.isnan(self.flat) and self.noise_sigma > 0:
            raise ValueError("flat = nan needs noise_sigma = 0, because flat is the prior of the noise model")
        return self


class WarpSpec(_Model):
    """How each frame is brought onto the reference."""

    method: Literal["none"] = Field("none", description="none: the frames arrive already warped")


class OutputFormatSpec(_Model):
    """How maps become files."""

    encoding: Encoding | None = Field(
        None,
        description="clip: round(M * max(rho, 0)); signed: round(M * (rho + 1) / 2), M = 255 or 65535; float: rho "
        "itself; unset: float for .npy and .tif, clip for the others",
        examples=["clip"],
    )
    bits: Annotated[Literal[8, 16], BeforeValidator(lambda v: int(v) if isinstance(v, str) and v.isdigit() else v)] = (
        Field(8, description="bits of a clip or signed code")
    )
    codec: Codec | None = Field(
        None,
        description="ffv1: lossless; h264: for viewing; unset: ffv1 for .mkv, h264 for .mp4 and .mov",
        examples=["ffv1"],
    )
    quality: Integer = Field(18, ge=0, le=51, description="H.264 constant rate factor; lower is better and larger")


class LimitsSpec(_Model):
    """What a run may cost before it is stopped."""

    stall_seconds: Real = Field(
        60.0,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="a decoder or encoder without progress for this long is killed",
    )


class RunSpec(_Model):
    """One job: the maps of one input against one reference, into one output."""

    input: str = Field(
        min_length=1,
        description="a video, a directory of images, a glob, a printf pattern (frame_%04d.png, or frame_%d.png, where "
        "no letter follows %d) or an (N, H, W) .npy",
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
        description="a second output: why each pixel has no measured value, as codes 0 to 7 (docs/definition.md); .mkv "
        "(FFV1), dir/%06d.png, .tif or .npy, or one .npy array",
        examples=["out/take01_validity.mkv"],
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
    allow_gaps: bool = Field(False, description="accept an image sequence with missing numbers")
    overwrite: bool = Field(False, description="replace an existing output")
    threads: Integer | None = Field(
        None, ge=1, description="threads of the kernels; unset: NUMBA_NUM_THREADS or all cores", examples=[2]
    )
    ncc: NccSpec = NccSpec()
    warp: WarpSpec = WarpSpec()
    output_format: OutputFormatSpec = OutputFormatSpec()
    limits: LimitsSpec = LimitsSpec()

    @field_validator("input", "output", "validity", mode="before")
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
        resolve_encoding(self.output, self.output_format)
        if self.validity is not None:
            require_lossless_output(self.validity)
        return self

    @model_validator(mode="after")
    def _labels_need_a_mask(self) -> Self:
        if self.ncc.mask_labels is not None and self.ncc.mask is None:
            raise ValueError("ncc.mask_labels needs ncc.mask: there is no mask whose labels could be chosen")
        return self

    @property
    def encoding(self) -> Encoding:
        """The encoding that the output will have: the one asked for, or its name's own."""
        return resolve_encoding(self.output, self.output_format)

    @property
    def codec(self) -> Codec | None:
        """The codec that the output will have: the one asked for, or its name's own; None where it is no video."""
        suffix = Path(self.output).suffix.lower()
        if suffix not in VIDEO_OUTPUT_SUFFIXES:
            return None
        return self.output_format.codec or ("ffv1" if suffix == ".mkv" else "h264")


def _radius(value: object) -> int:
    return whole_number(value, 1, MAX_RADIUS, "a whole number of pixels from")


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


def is_sequence_pattern(path: str) -> bool:
    """Whether the file name holds a printf frame number: ``%06d``, or ``%d`` where no letter follows."""
    return FRAME_NUMBER_PATTERN.search(Path(path).name) is not None


def require_lossless_output(path: str) -> None:
    """Refuse a file name whose format would change validity codes.

    Raises
    ------
    ValueError
        When it is none of .mkv, .npy, or a numbered .png, .tif or .npy.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".mkv", *PICTURE_OUTPUT_SUFFIXES):
        raise ValueError(
            f"validity {path!r} must end in .mkv, or be dir/%06d with one of {', '.join(PICTURE_OUTPUT_SUFFIXES)}, or "
            f"one .npy: codes need a lossless format"
        )
    _require_number(path, suffix, "validity")


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
