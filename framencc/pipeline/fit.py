"""Whether a reference and an input can be compared, and bringing the reference to the input's code values."""

import numpy as np

from framencc.errors import SpecError
from framencc.frames import StreamInfo, Use
from framencc.ncc import Reference
from framencc.render import Preview, PreviewLayout
from framencc.shades import Shades, maximum_code
from framencc.sources import ReferencePicture
from framencc.spec import RunSpec


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
    if spec.ncc.rgb_range != "auto" and "RGB from YUV" not in conversions:
        raise SpecError(
            f"ncc.rgb_range = {spec.ncc.rgb_range} cannot apply: no red, green or blue is computed from YUV for "
            f"ncc.channel = {spec.ncc.channel} of this input"
        )


def fit_reference(
    picture: ReferencePicture, mask: Use | None, info: StreamInfo, spec: RunSpec, gain: int = 1
) -> tuple[Reference, float | None]:
    """Prepare the reference; with a noise model, in the code values of the frames that it will be compared with.

    The correlation itself does not care about a factor, but noise_sigma is in code values of the input, and the same
    noise is a fourth as many codes in an 8-bit picture as in a 10-bit frame. Warped frames come multiplied by `gain`.

    Returns
    -------
    reference : Reference
        The picture under the job's mask and its own alpha.
    factor : float or None
        By what its codes were multiplied.
    """
    data, factor, options = picture.data, None, spec.ncc
    if spec.ncc.noise_sigma > 0 and picture.bits is not None and info.bits is not None:
        if picture.bits != info.bits:
            factor = maximum_code(info.bits) / maximum_code(picture.bits)
            data = np.rint(data * factor).astype(np.uint8 if info.bits <= 8 else np.uint16)
        if gain != 1:
            data = data.astype(np.uint16) * np.uint16(gain)
            options = options.model_copy(update={"noise_sigma": options.noise_sigma * gain})
    use = mask if picture.use is None or mask is None else mask & picture.use
    planes = data if data.ndim == 3 else data[np.newaxis]
    return Reference.from_planes(planes, options, use=picture.use if use is None else use, threads=spec.threads), factor


def code_scale(picture: ReferencePicture, info: StreamInfo, gain: int) -> float | None:
    """Return what codes of frames that come multiplied by `gain` are multiplied by to be the reference's.

    None where one of the two holds integers and the other floats, whose scale nothing tells.
    """
    if picture.bits is None and info.bits is None:
        return 1.0
    if picture.bits is None or info.bits is None:
        return None
    return maximum_code(picture.bits) / maximum_code(info.bits) / gain


def open_preview(
    picture: ReferencePicture, layout: PreviewLayout, info: StreamInfo, spec: RunSpec, gain: int = 1
) -> Preview:
    """Prepare what draws previews; frames come multiplied by `gain`, so they are not as bright as the reference."""
    static = Shades.of(picture.data, picture.bits)
    return Preview(
        spec.output_format.preview_style,
        layout,
        picture.data,
        static=static,
        dynamic=static.for_frames(picture.bits, info.bits, gain),
        strength=spec.output_format.preview_strength,
        threads=spec.threads,
    )


def _depth(bits: int | None) -> str:
    return "floating-point samples" if bits is None else f"{bits}-bit samples"
