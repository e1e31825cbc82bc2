"""Warping one frame: framencc beside OpenCV's remap and warpPerspective, and SciPy's map_coordinates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.pictures import Picture, full_scale, textured_pair
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc.sampling import Sampler, fixed_point_gain

DEFAULTS = {"rounds": 15}
OURS, OPENCV, SCIPY = "framencc", "OpenCV", "SciPy"
EXACT_TOLERANCE = 1e-4
# OpenCV before 5 takes positions to 1/32 px, rounds to the codes of the input, and its cubic has another parameter
# (a = -0.75); nearest differs where a position is half-way.
OPENCV_TOLERANCE = {"linear": 2 / 64 + 1 / 255, "cubic": 0.3}
_ORDERS = {"nearest": 0, "linear": 1}


@dataclass(frozen=True)
class Case:
    name: str
    dtype: str
    interpolation: str = "linear"
    n_channels: int = 1
    matrix: tuple[tuple[float, float, float], ...] | None = None  # None: a field
    scipy: bool = True  # its cubic is a spline, another curve


CASES = (
    Case("field, linear, uint8", "uint8"),
    Case("field, linear, uint16", "uint16"),
    Case("field, linear, float32", "float32"),
    Case("field, linear, uint8, 3 channels", "uint8", n_channels=3),
    Case("affine matrix, linear, uint8", "uint8", matrix=((1.01, 0.02, -3), (-0.015, 0.99, 4), (0, 0, 1))),
    Case("homography, linear, uint8", "uint8", matrix=((1.01, 0.02, -3), (-0.015, 0.99, 4), (1e-6, 2e-6, 1))),
    Case("field, cubic, uint8", "uint8", interpolation="cubic", scipy=False),
    Case("field, nearest, uint8", "uint8", interpolation="nearest"),
)

NOTES = f"""\
A dense smooth field of up to 6 px, or a matrix. framencc writes 16-bit fixed point for integer pictures and float32
for float ones, and why a pixel has no value; OpenCV's `remap` and `warpPerspective` (BORDER_CONSTANT, float32 maps
made beforehand, interleaved channels) write the input's dtype; SciPy's `map_coordinates` float64. Before it is timed,
framencc's result is compared with SciPy's, and where there is none with OpenCV's: at most {EXACT_TOLERANCE:g} of full
scale off with SciPy."""


def measure(options: Options) -> Findings:
    rows = []
    for case in CASES:
        timings = time_case(case, options.size, options.rounds, options.threads)
        say(f"{case.name}\n{describe(timings, OURS)}")
        rows.append([case.name, *cells(timings)])
    head = [f"{options.shape}, threads: {options.threads}", OURS, OPENCV, SCIPY]
    text = caption(options, "numba", "numpy", "opencv-python", "scipy")
    brackets = "In brackets the median of the rounds' ratios to framencc."
    return Findings({"sampling": f"{table(head, rows)}\n\n{text} {brackets}\n\n{NOTES}"})


def time_case(case: Case, size: tuple[int, int], rounds: int, threads: int) -> dict[str, Timing]:
    """Check the result on one picture, then time everybody."""
    import cv2

    cv2.setNumThreads(threads)
    planes = make_planes(case, size)
    warp = np.array(case.matrix, np.float64) if case.matrix else smooth_field(*size)
    sampler = Sampler(case.interpolation, threads=threads)
    out, validity = sampler.sample(planes, warp)
    candidates: dict[str, Callable[[], Any]] = {
        OURS: lambda: sampler.sample(planes, warp, out=out, validity=validity),
        OPENCV: opencv(case, planes, warp),
    }
    inside = validity == 0
    # Nearest differs by whole pixels where a rounded position falls on the other side.
    if case.interpolation != "nearest":
        found = candidates[OPENCV]().reshape(*validity.shape, -1).transpose(2, 0, 1)
        check(case, OPENCV, out, found, inside, OPENCV_TOLERANCE[case.interpolation])
    if case.scipy:
        candidates[SCIPY] = scipy(case, planes, warp)
        check(case, SCIPY, out, candidates[SCIPY](), inside, EXACT_TOLERANCE)
    return time_side_by_side(candidates, rounds, settling_calls=1)


def make_planes(case: Case, size: tuple[int, int]) -> Picture:
    frame = textured_pair(*size, case.dtype)[1]
    return np.stack([np.roll(frame, 7 * channel, axis=1) for channel in range(case.n_channels)])


def smooth_field(width: int, height: int) -> npt.NDArray[np.float32]:
    y, x = np.mgrid[:height, :width]
    dx = 3.3 * np.sin(y / 97) + 2.1 * np.cos(x / 131)
    return np.stack([dx, 2.7 * np.cos(y / 77 + x / 203)], axis=-1).astype(np.float32)


def opencv(case: Case, planes: Picture, warp: npt.NDArray[Any]) -> Callable[[], Picture]:
    import cv2

    flags = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[case.interpolation]
    picture = np.ascontiguousarray(planes.transpose(1, 2, 0)) if len(planes) > 1 else planes[0]
    out = np.empty_like(picture)
    if case.matrix:
        size = picture.shape[1], picture.shape[0]
        inverse = flags | cv2.WARP_INVERSE_MAP
        return lambda: cv2.warpPerspective(picture, warp, size, out, inverse, cv2.BORDER_CONSTANT)
    x, y = (positions.astype(np.float32) for positions in positions_of(planes, warp))
    return lambda: cv2.remap(picture, x, y, flags, out, cv2.BORDER_CONSTANT)


def scipy(case: Case, planes: Picture, warp: npt.NDArray[Any]) -> Callable[[], Picture]:
    from scipy.ndimage import map_coordinates

    x, y = positions_of(planes, warp)
    order = _ORDERS[case.interpolation]
    return lambda: np.stack([map_coordinates(plane, [y, x], np.float64, order) for plane in planes])


def positions_of(planes: Picture, warp: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where every pixel of the output lies in the frame."""
    y, x = np.mgrid[: planes.shape[1], : planes.shape[2]].astype(np.float64)
    if warp.shape == (3, 3):
        u, v, w = (row[0] * x + row[1] * y + row[2] for row in warp)
        return u / w, v / w
    return x + warp[..., 0], y + warp[..., 1]


def check(
    case: Case, peer: str, out: Picture, expected: Picture, inside: npt.NDArray[np.bool_], tolerance: float
) -> None:
    """Refuse a result that is further off than `tolerance` of full scale."""
    gain = 1 if case.dtype == "float32" else fixed_point_gain(case.dtype)
    error = np.abs(out.astype(np.float64) / gain - expected)[:, inside].max() / full_scale(case.dtype)
    # Written so that a NaN is refused too.
    if not error <= tolerance:
        raise AssertionError(f"{case.name}: {error:.3g} of full scale from {peer}, at most {tolerance:g} is expected")


def cells(timings: dict[str, Timing]) -> list[str]:
    ours = timings[OURS]
    peers = [timings.get(name) for name in (OPENCV, SCIPY)]
    return [
        milliseconds(ours.median),
        *(f"{milliseconds(peer.median)} ({peer.median_ratio(ours):.2g} x)" if peer else "-" for peer in peers),
    ]
