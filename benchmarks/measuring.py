"""All that a run measures of a frame, as its pipeline does it: map, 8-bit codes, validity and scores.

This is the one place of the benchmarks that knows how the pipeline calls the engine.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.pictures import Picture
from framencc import Reference
from framencc.config import make_ncc_spec
from framencc.scores import Scorer


def measurement(reference: Picture, radius: int, threads: int) -> Callable[[Picture], Picture]:
    """Return a function that measures a frame and returns its map."""
    planes = reference[np.newaxis]
    prepared = Reference.from_planes(planes, make_ncc_spec(radius=radius), threads=threads)
    scorer = Scorer(reference.shape, planes, threads=threads)
    rho, codes = np.empty(reference.shape, np.float32), np.empty(reference.shape, np.uint8)
    validity = np.empty_like(codes)

    def measure(frame: Picture) -> Picture:
        planes = frame[np.newaxis]
        prepared.correlate(planes, rho, validity, begin=lambda n_bands: scorer.begin(n_bands, planes, codes=codes))
        scores = scorer.finish()
        if scores.sharpness_ratio is None or scores.median is None:
            raise AssertionError("a score is missing")
        return rho

    return measure
