"""What can be asked for: THE home of every option's name, default, range, choices and help text.

Command-line flags, the JSON Schema and the commented default config are generated from these models.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from framencc.errors import SpecError

VIDEO_OUTPUT_SUFFIXES = (".mkv", ".mp4", ".mov")
PICTURE_OUTPUT_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
FRAME_NUMBER_PATTERN = re.compile(r"%0?\d*d")
_PATH_FIELDS = ("input", "output", "reference")

Encoding = Literal["clip", "signed", "float"]
Border = Literal["shrink", "valid", "reflect"]
Channel = Literal["luma", "red", "green", "blue", "joint"]
Combine = Literal["mean", "min", "max"]
MAX_RADIUS = 127


def _plain_number(value: object) -> object:
    if type(value).__name__ in ("bool", "bool_"):  # Python's, NumPy 2's and NumPy 1's
        raise ValueError("a number is expected, not true or false")
    # NumPy's integers are integers too.
    return value.__index__() if hasattr(value, "__index__") else value


# Pydantic takes True for 1; a config that says `radius = true` is a mistake.
Integer = Annotated[int, BeforeValidator(_plain_number)]
Real = Annotated[float, BeforeValidator(_plain_number)]


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
        allow_inf_nan=False,
        description="standard deviation of the sensor noise in code values of the input; windows that hold little "
        "more than noise move smoothly towards flat; 0: off",
    )
    min_valid_fraction: Real = Field(
        0.5, gt=0, le=1, description="share of a window's pixels in the picture that must be usable"
    )
    channel: Channel = Field(
        "luma", description="joint: red, green and blue together, each centred by its own mean, sums pooled"
    )
    combine: Combine = Field("mean", description="how the maps of several radii become one, over those that measured")
    smooth_sigma: Real = Field(
        0.0, ge=0, le=MAX_RADIUS, description="Gaussian smoothing of the finished map, in pixels; 0: off"
    )
    fill: Real = Field(0.0, description="value of pixels without a measurement (masked, outside, not finite), or nan")

    @field_validator("radius", mode="before")
    @classmethod
    def _radius_is_one_or_several(cls, radius: object) -> object:
        if isinstance(radius, str):
            radius = [part.strip() for part in radius.strip("[]() ").split(",")]
            radius = radius[0] if len(radius) == 1 else radius
        several = not hasattr(radius, "__index__") and isinstance(radius, Iterable) and not isinstance(radius, str)
        radii = list(radius) if several else [radius]  # type: ignore[call-overload]
        if not radii:
            raise ValueError("needs at least one radius")
        numbers = [_radius(value) for value in radii]
        return tuple(numbers) if several else numbers[0]

    @field_validator("flat")
    @classmethod
    def _flat_in_range(cls, flat: float) -> float:
        if not (math.isnan(flat) or -1 <= flat <= 1):
            raise ValueError("must be between -1 and 1, or nan")
        return flat

    @field_validator("fill")
    @classmethod
    def _fill_is_no_infinity(cls, fill: float) -> float:
        if math.isinf(fill):
            raise ValueError("must be a finite number or nan")
        return fill

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
    codec: Literal["ffv1", "h264"] | None = Field(
        None,
        description="ffv1: lossless; h264: for viewing; unset: ffv1 for .mkv, h264 for .mp4 and .mov",
        examples=["ffv1"],
    )
    quality: Integer = Field(18, ge=0, le=51, description="H.264 constant rate factor; lower is better and larger")


class LimitsSpec(_Model):
    """What a run may cost before it is stopped."""

    stall_seconds: Real = Field(
        60.0, gt=0, allow_inf_nan=False, description="a decoder or encoder without progress for this long is killed"
    )


class RunSpec(_Model):
    """One job: the maps of one input against one reference, into one output."""

    input: str = Field(
        min_length=1,
        description="a video, a directory of images, a glob, a printf pattern (frame_%04d.png) or an (N, H, W) .npy",
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
    frames: str | None = Field(
        None,
        description="frames to process, start:stop or start:stop:step, half-open, from 0; unset: all",
        examples=["0:300"],
    )
    frame_rate: str | None = Field(
        None,
        description="frames per second of an image sequence or array, as 25 or 30000/1001; unset: 25; a video has "
        "its own",
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

    @field_validator("input", "output", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("reference", mode="before")
    @classmethod
    def _reference_is_index_or_path(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a picture's path or a frame index")
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, str) and not value:
            raise ValueError("must be a picture's path or a frame index, not empty")
        if isinstance(value, int) and value < 0:
            raise ValueError("a frame index counts from 0")
        return value

    @field_validator("frames")
    @classmethod
    def _frames_parse(cls, frames: str | None) -> str | None:
        if frames is not None:
            parse_frames(frames)
        return frames

    @field_validator("frame_rate", mode="before")
    @classmethod
    def _frame_rate_parses(cls, rate: object) -> str | None:
        if rate is None:
            return None
        try:
            fraction = Fraction(str(rate))
        except (ValueError, ZeroDivisionError):
            fraction = Fraction(0)
        if isinstance(rate, bool) or not 0 < fraction <= 1_000_000:
            raise ValueError(f"must be frames per second, such as 25 or 30000/1001, not {rate!r}")
        return str(rate)

    @model_validator(mode="after")
    def _output_format_fits(self) -> Self:
        resolve_encoding(self.output, self.output_format)
        return self

    @property
    def encoding(self) -> Encoding:
        """The encoding that the output will have: the one asked for, or its name's own."""
        return resolve_encoding(self.output, self.output_format)


def _radius(value: object) -> int:
    value = _plain_number(value)
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or not 1 <= value <= MAX_RADIUS:
        raise ValueError(f"must be a whole number of pixels from 1 to {MAX_RADIUS}, not {value!r}")
    return value


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
    if step == 0:
        raise ValueError("the step must be at least 1")
    if stop is not None and stop <= (start or 0):
        raise ValueError(f"selects no frame: {text!r}")
    return slice(start or 0, stop, step or 1)


def is_sequence_pattern(path: str) -> bool:
    """Whether the file name holds one printf frame number, as in ``%06d.png``."""
    return FRAME_NUMBER_PATTERN.search(Path(path).name) is not None


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
    if suffix in PICTURE_OUTPUT_SUFFIXES and suffix != ".npy" and not is_sequence_pattern(output):
        raise ValueError(f"output {output!r} needs a frame number in its name, such as dir/%06d{suffix}")
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


def make_spec(values: Mapping[str, Any], *, where: str = "") -> RunSpec:
    """Check nested option values and build the spec.

    Raises
    ------
    SpecError
        One line that names the first wrong option, `where` it stands, and what it may be.
    """
    try:
        return RunSpec.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError(where + _explain(error, RunSpec)) from None


def make_ncc_spec(**values: Any) -> NccSpec:
    """Check the options of the correlation alone.

    Raises
    ------
    SpecError
        One line that names the first wrong option and what it may be.
    """
    try:
        return NccSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(_explain(error, NccSpec)) from None


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunSpec:
    """Load a TOML config file.

    Parameters
    ----------
    path
        The file. Relative paths inside it are relative to its folder.
    overrides
        Nested option values that win over the file's.

    Returns
    -------
    RunSpec
        The checked spec, its paths joined with the file's folder.

    Raises
    ------
    SpecError
        When the file is missing, is no TOML, or holds an unknown key or a wrong value.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SpecError(f"config {str(path)!r} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"config {str(path)!r} is not valid TOML: {error}") from None
    for name in _PATH_FIELDS:
        if isinstance(values.get(name), str) and values[name]:
            values[name] = str(path.parent / values[name])
    return make_spec(_merge(values, overrides or {}), where=f"config {str(path)!r}: ")


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in top.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    problems = error.errors(include_url=False)
    # A misspelt `input` is both unknown and missing; the first says more.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    leaves = [name for name, _ in leaf_fields(model)]
    known = {*leaves, *(name.split(".")[0] for name in leaves)}
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return _unknown_option(".".join(parts), leaves)
    # The branches of a union follow the option's name; they mean nothing to a user.
    while parts and ".".join(parts) not in known:
        parts.pop()
    name = ".".join(parts)
    if first["type"] == "missing":
        return f"{name} is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = first["input"]
    shown = "" if isinstance(given, (BaseModel, dict)) or repr(given) in message else f" (got {given!r})"
    return (f"{name}: " if name else "") + message + shown


def _unknown_option(name: str, known: list[str]) -> str:
    tails = {known_name.rsplit(".", 1)[-1]: known_name for known_name in known}
    close = difflib.get_close_matches(name, known, n=1) or [
        tails[tail] for tail in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(tails), n=1)
    ]
    return f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
