"""Which pixels of a stored map hold a measurement."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture
from framencc.report.drawing import Confidence, Mask, as_stored
from framencc.report.runs import Run, number, section

_FLAT_CODES = slice(1, 3)  # of windows without texture; those above hold the fill


class MeasuredPixels(NamedTuple):
    """What is known of the pixels of one map.

    Parameters
    ----------
    mask
        (H, W), bool: the pixels that were measured for certain.
    hidden
        How many more were measured, by their value: it is also what pixels without a measurement hold, so which ones
        they are is not known.
    """

    mask: Mask
    hidden: dict[float, int]


def measured_pixels(run: Run, place: int, rho: Confidence, codes: Picture | None) -> MeasuredPixels | None:
    """Tell which pixels of a map were measured.

    Parameters
    ----------
    run, place
        The run, and the frame's place among its rows.
    rho
        (H, W), float32: the map as it is stored.
    codes
        (H, W): its validity codes; None where the run did not keep them. Without codes of the map's size, pixels
        without a measurement are told by their value, and the row says how many there are.

    Returns
    -------
    MeasuredPixels or None
        None where it cannot be known; see `knows_measured`.
    """
    finite = np.isfinite(rho)
    if codes is not None and codes.shape == rho.shape:
        return MeasuredPixels((codes == 0) & finite, {})
    if not knows_measured(run, place):
        return None
    mask, hidden = finite, {}
    for value, n_empty in _n_empty(run, place, rho.size).items():
        here = rho == np.float32(value)
        if n_empty:
            mask = mask & ~here
            hidden[value] = max(0, int(np.count_nonzero(here)) - n_empty)
    return MeasuredPixels(mask, hidden)


def used_pixels(run: Run, place: int, rho: Confidence, codes: Picture | None) -> tuple[Mask, bool]:
    """Tell which pixels of a map are to be shown as measured, and whether they are exactly those that were.

    The arguments are those of `measured_pixels`. Where it is not known, a pixel counts as measured.
    """
    found = measured_pixels(run, place, rho, codes)
    if found is None:
        return np.isfinite(rho), False
    used = found.mask
    # A 0 may be a match that fails, and that is what people look for: it must not be lost among those not measured.
    mixed = [value for value, n_measured in found.hidden.items() if n_measured]
    for value in mixed:
        used = used | (rho == np.float32(value))
    return used, not mixed


def knows_measured(run: Run, place: int) -> bool:
    """Tell whether a map that is measured in part says where by its values, without its validity codes.

    A lossy video changes them; smoothing and weights change those of windows without texture.
    """
    shares = _shares(run, place)
    if shares[0] == 1:
        return True
    if run.section("encoding").get("codec") == "h264":
        return False
    spec = run.section("spec")
    changed = number(section(spec, "ncc").get("smooth_sigma"), 0.0) > 0 or (
        section(spec, "warp").get("forward_backward") == "weight" and _flat(run) > 0
    )
    return not (changed and np.nansum(shares[_FLAT_CODES]) > 0)


def _n_empty(run: Run, place: int, n_pixels: int) -> dict[float, int]:
    """Count the pixels of a frame that were not measured, by the value that they hold, as it is stored."""
    shares = np.nan_to_num(_shares(run, place))
    fill = number(section(run.section("spec"), "ncc").get("fill", 0.0))
    empty = [_flat(run), fill]
    if section(run.section("spec"), "warp").get("forward_backward") == "weight":
        empty[0] = max(empty[0], 0.0)
    counts: dict[float, int] = {}
    share_of_flat = shares[_FLAT_CODES].sum()
    for value, share in zip(empty, (share_of_flat, shares[1:].sum() - share_of_flat), strict=True):
        stored = as_stored(value, run.section("encoding"))
        counts[stored] = counts.get(stored, 0) + round(n_pixels * share)
    return counts


def _flat(run: Run) -> float:
    return number(section(run.section("spec"), "ncc").get("flat", 0.0))


def _shares(run: Run, place: int) -> npt.NDArray[np.float64]:
    shares = run.code_shares[place]
    return shares if shares.size else np.array([run.scores["valid_share"][place]])
