"""Whether a reference and an input can be compared, and by which factor their code values differ."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from framencc.errors import SpecError
from framencc.frames import CodeRange, StreamInfo, Use
from framencc.ncc import Reference
from framencc.render import Preview, PreviewLayout
from framencc.shades import Shades
from framencc.sources import ReferencePicture, Source, same_depth
from framencc.spec import RunSpec, parse_frames

_FULL_BITS = 16


def require_fit(reference: ReferencePicture, info: StreamInfo, spec: RunSpec) -> None:
    """Refuse a job whose reference and input, or whose options, do not go together.

    Raises
    ------
    SpecError
        With the name of the option that does not apply.
    """
    height, width = reference.data.shape[-2:]
    if (height, width) != (info.height, info.width):
        raise SpecError(
            f"reference {spec.reference!r} is {width} x {height} pixels, input {spec.input!r} is "
            f"{info.width} x {info.height}; they must be equal{info.size_note}"
        )
    n_channels = 1 if reference.data.ndim == 2 else len(reference.data)
    if n_channels != info.n_channels:
        kinds = {1: "gray", 3: "in colour"}
        raise SpecError(
            f"reference {spec.reference!r} is {kinds[n_channels]}, input {spec.input!r} is {kinds[info.n_channels]}; "
            f"ncc.channel = {spec.ncc.channel} compares like with like"
        )
    if spec.ncc.noise_sigma > 0 and (reference.bits is None) != (info.bits is None):
        raise SpecError(
            f"ncc.noise_sigma is in code values of the input, which has {_depth(info.bits)}, but the reference has "
            f"{_depth(reference.bits)}; bring both to one format, or set it to 0"
        )
    conversions = {conversion.kind for conversion in (reference.conversion, info.conversion) if conversion}
    if spec.ncc.rgb_matrix != "auto" and not conversions:
        raise SpecError(
            f"ncc.rgb_matrix = {spec.ncc.rgb_matrix} cannot apply: for ncc.channel = {spec.ncc.channel} neither input "
            f"nor reference has to be converted"
        )
    if spec.ncc.rgb_range != "auto" and (info.code_range is None or info.code_range.range_from != "option"):
        raise SpecError(
            f"ncc.rgb_range = {spec.ncc.rgb_range} cannot apply: input {spec.input!r} is not a video that stores YUV"
        )


def settle_depths(picture: ReferencePicture, info: StreamInfo, spec: RunSpec) -> tuple[ReferencePicture, StreamInfo]:
    """Decide on the significant bits of reference and input where only their codes tell; and warn of that."""
    own, others = same_depth(picture.code_range, info.code_range)
    is_frame = isinstance(spec.reference, int)
    warnings = () if is_frame else _warn_of_guess(own, f"reference {spec.reference!r}", "reference_bits")
    picture = dataclasses.replace(picture, code_range=own, warnings=(*picture.warnings, *warnings))
    warnings = _warn_of_guess(others, f"input {spec.input!r}", "input_bits")
    return picture, dataclasses.replace(info, code_range=others, warnings=(*info.warnings, *warnings))


def _warn_of_guess(codes: CodeRange | None, where: str, option: str) -> tuple[str, ...]:
    if codes is None or codes.bits_from != "content" or codes.bits == _FULL_BITS:
        return ()
    place = "high" if codes.white >> codes.bits else "low"
    text = (
        f"{where} does not say how many of its 16 bits are significant; assuming {codes.bits} (the {place} bits), "
        f"because its largest code is {codes.largest}; set {option} to override"
    )
    return (text,)


def fit_reference(
    picture: ReferencePicture, mask: Use | None, info: StreamInfo, spec: RunSpec, gain: int = 1
) -> Reference:
    """Prepare the reference, under the job's mask and its own alpha.

    The correlation itself does not care about a factor, but noise_sigma is in code values of the input, and the same
    noise is a fourth as many codes in an 8-bit picture as in a 10-bit frame. Warped frames come multiplied by `gain`.
    """
    use = mask if picture.use is None or mask is None else mask & picture.use
    return Reference.from_planes(
        picture.data if picture.data.ndim == 3 else picture.data[np.newaxis],
        spec.ncc.model_copy(update={"noise_sigma": spec.ncc.noise_sigma * gain}),
        use=picture.use if use is None else use,
        scale=code_scale(picture, info, gain) or 1.0,
        threads=spec.threads,
    )


def code_scale(picture: ReferencePicture, info: StreamInfo, gain: int) -> float | None:
    """Return what codes of frames that come multiplied by `gain` are multiplied by to be the reference's.

    Black and white of both have the same distance then. None where one of the two holds integers and the other floats,
    whose scale nothing tells.
    """
    if picture.code_range is None and info.code_range is None:
        return 1.0
    if picture.code_range is None or info.code_range is None:
        return None
    return picture.code_range.units(info.code_range) / gain


def open_preview(
    picture: ReferencePicture, layout: PreviewLayout, info: StreamInfo, spec: RunSpec, gain: int = 1
) -> Preview:
    """Prepare what draws previews; frames come multiplied by `gain`, so they are not as bright as the reference."""
    static = Shades.of(picture.data, picture.code_range)
    return Preview(
        spec.output_format.preview_style,
        layout,
        picture.data,
        static=static,
        dynamic=static.for_frames(picture.code_range, info.code_range, gain),
        strength=spec.output_format.preview_strength,
        threads=spec.threads,
    )


def _depth(bits: int | None) -> str:
    return "floating-point samples" if bits is None else f"{bits}-bit samples"


def selected_numbers(spec: RunSpec, source: Source) -> Sequence[int] | None:
    """Return the numbers of the selected frames; None where all are, or only reading tells."""
    if spec.frames is None:
        return None
    frames = parse_frames(spec.frames)
    if source.n_input_frames is not None:
        return range(source.n_input_frames)[frames]
    return None if frames.stop is None else range(frames.start, frames.stop, frames.step)
