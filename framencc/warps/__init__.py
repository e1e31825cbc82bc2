"""How frames are brought onto the reference. `open_warp` is the one way in."""

import numpy as np

from framencc.errors import SpecError
from framencc.frames import Picture, Use
from framencc.sampling import fixed_point_gain
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Warp, WarpMethod
from framencc.warps.stage import Warped, WarpStage
from framencc.warps.views import View

__all__ = ["Warp", "WarpMethod", "WarpStage", "Warped", "open_warp"]


def open_warp(
    spec: WarpSpec,
    reference: Picture,
    *,
    bits: int | None,
    reference_bits: int | None = None,
    region: Use | None = None,
    n_frames: int | None = None,
    threads: int | None = None,
) -> WarpStage | None:
    """Open the warp stage of a job.

    Parameters
    ----------
    spec
        The options.
    reference
        (H, W) or (3, H, W) reference.
    bits, reference_bits
        Significant bits of the frames' and of the reference's codes, None for floats. The reference's are the frames'
        own if omitted.
    region
        (H, W) bool, the pixels of the reference that the job's single mask lets through; None where it has none.
    n_frames
        How many frames the input has, where that is known.
    threads
        Threads of the sampling kernel; all cores if omitted.

    Returns
    -------
    WarpStage or None
        None where frames are left as they are.

    Raises
    ------
    MissingExtraError
        When the method needs a package that is not installed.
    SpecError, WarpError
        When the fields or the options do not fit the job.
    """
    if spec.method == "none":
        return None
    if spec.region == "mask" and region is None:
        raise SpecError("warp.region = mask needs ncc.mask, and a single picture for the whole job")
    method = _open_method(spec, reference, (reference_bits or bits, bits), region, n_frames)
    gain = 1 if bits is None else fixed_point_gain(np.uint16, bits)
    return WarpStage(spec, method, bits=bits, gain=gain, threads=threads)


def _open_method(
    spec: WarpSpec, reference: Picture, bits: tuple[int | None, int | None], region: Use | None, n_frames: int | None
) -> WarpMethod:
    size = (reference.shape[-2], reference.shape[-1])
    if spec.method == "field":
        from framencc.warps.field import FieldMethod  # noqa: PLC0415  (each method brings libraries of its own)

        return FieldMethod(spec, size, n_frames)
    region = region if spec.region == "mask" else None
    view = View.choose(size, spec.estimation_size, region)
    if spec.method == "translation":
        from framencc.warps.translation import TranslationMethod  # noqa: PLC0415

        return TranslationMethod(spec, view, reference)
    # Without a depth the reference says what white is.
    white = float(np.nan_to_num(reference, nan=0, posinf=0, neginf=0).max()) or 1.0
    scales = tuple(white if depth is None else float(2**depth - 1) for depth in bits)
    if spec.method == "flow":
        from framencc.warps.flow import FlowMethod  # noqa: PLC0415

        return FlowMethod(spec, view, reference, (scales[0], scales[1]))
    from framencc.warps.ecc import EccMethod  # noqa: PLC0415

    return EccMethod(spec, view, reference, (scales[0], scales[1]), region)
