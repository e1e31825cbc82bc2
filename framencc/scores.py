"""The numbers of one map."""

from dataclasses import dataclass

import numpy as np

from framencc.engine import VALIDITY_CODES
from framencc.frames import Picture
from framencc.kernels.encode import UNITS_PER_ONE, measure_rows
from framencc.kernels.threads import default_threads, share_rows


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What one map says in short.

    Parameters
    ----------
    mean_confidence
        Mean of rho over the measured pixels (validity 0), or None where there is none; exact to 1e-9.
    valid_share
        Share of the pixels that were measured, 0 to 1.
    code_shares
        Share of the pixels of each validity code, from 0 on (`framencc.engine.VALIDITY_CODES` names them).
    """

    mean_confidence: float | None
    valid_share: float
    code_shares: tuple[float, ...]


def score(rho: Picture, validity: Picture, *, threads: int | None = None) -> FrameScores:
    """Measure a map.

    Parameters
    ----------
    rho
        (H, W) float32 map.
    validity
        (H, W) uint8 codes; 0 is measured.
    threads
        Kernel threads; all cores if omitted. The result does not depend on it.
    """
    height = rho.shape[0]
    totals, counts = np.empty(height, np.int64), np.empty((height, len(VALIDITY_CODES)), np.int64)
    share_rows(
        lambda y0, y1: measure_rows(rho, validity, y0, y1, totals, counts),
        height,
        threads or default_threads(),
    )
    n_pixels = [int(count) for count in counts.sum(axis=0)]
    mean = int(totals.sum()) / UNITS_PER_ONE / n_pixels[0] if n_pixels[0] else None
    shares = tuple(count / rho.size for count in n_pixels)
    return FrameScores(mean, shares[0], shares)
