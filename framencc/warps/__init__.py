"""How frames are brought onto the reference. `open_warp` is the one way in."""

from collections.abc import Sequence

from framencc.errors import SpecError
from framencc.frames import CodeRange, Picture, Use
from framencc.kernels.launch import default_threads
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Warp, WarpMethod
from framencc.warps.stage import Warped, WarpStage
from framencc.warps.views import View

__all__ = ["Warp", "WarpMethod", "WarpStage", "Warped", "open_warp"]


def open_warp(
    spec: WarpSpec,
    reference: Picture,
    *,
    code_range: CodeRange | None,
    reference_range: CodeRange | None,
    selected: Sequence[int] | None = None,
    region: Use | None = None,
    n_frames: int | None = None,
    threads: int | None = None,
    tolerant: bool = False,
) -> WarpStage | None:
    """Open the warp stage of a job.

    Parameters
    ----------
    spec
        The options.
    reference
        (H, W) or (3, H, W) reference.
    code_range, reference_range
        Which codes of the frames and of the reference are black and white, None for floats.
    selected
        The numbers of the selected frames, where they are known; None: all, or not known.
    region
        (H, W) bool, the pixels of the reference that the job's single mask lets through; None where it has none.
    n_frames
        How many frames the input has, where that is known.
    threads
        Threads of the sampling kernel; all cores if omitted.
    tolerant
        Whether some frames may lack a precomputed warp; `WarpStage.estimate` refuses these.

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
    threads = threads or default_threads()
    if spec.method == "field":
        from framencc.warps.field import FieldMethod  # noqa: PLC0415  (each method brings libraries of its own)

        size = (reference.shape[-2], reference.shape[-1])
        method: WarpMethod = FieldMethod(spec, size, n_frames, selected, threads, tolerant=tolerant)
    else:
        method = _open_method(spec, reference, (reference_range, code_range), region, threads)
    return WarpStage(spec, method, code_range=code_range, threads=threads)


def _open_method(
    spec: WarpSpec,
    reference: Picture,
    ranges: tuple[CodeRange | None, CodeRange | None],
    region: Use | None,
    threads: int,
) -> WarpMethod:
    region = region if spec.region == "mask" else None
    view = View.choose((reference.shape[-2], reference.shape[-1]), spec.estimation_size, region, threads)
    if spec.method == "translation":
        from framencc.warps.translation import TranslationMethod  # noqa: PLC0415

        return TranslationMethod(spec, view, reference)
    own, of_frames = (None if one is None else (float(one.black), float(one.white)) for one in ranges)
    if spec.method == "flow":
        from framencc.warps.flow import FlowMethod  # noqa: PLC0415

        return FlowMethod(spec, view, reference, (own, of_frames))
    from framencc.warps.ecc import EccMethod  # noqa: PLC0415

    return EccMethod(spec, view, reference, (own, of_frames), region)
