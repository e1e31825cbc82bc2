"""Other packages that correlate windows, or compare them by SSIM, on the same pair: uint8, windows of 7 x 7.

`pip install ".[peers]"` brings all of them; one that is not installed is named.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement import EXACT_TOLERANCE, Judge, make_judge
from benchmarks.pictures import Picture, textured_pair
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import describe, milliseconds, time_side_by_side
from framencc import Reference

DEFAULTS = {"rounds": 9}
RADIUS = 3
SIDE = 2 * RADIUS + 1
OURS = "framencc"
SSIM_CONSTANTS = 0.01, 0.03
_FLOAT32_SSIM = 2e-4
_FULL_SCALE = 255

NOTES = """\
Before it is timed, each result is compared with float64 sums. An SSIM map weighs the same correlation by how well means
and variances agree; none of the SSIM packages can prepare a reference."""

Call = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """A package, what it computes, and how it is called."""

    name: str
    package: str  # as pip and `find_spec` know it
    module: str
    computes: str
    threads: str
    make: Callable[[Judge, Picture, Picture, int], Call]


def measure(options: Options) -> Findings:
    reference, frame = textured_pair(*options.size, "uint8")
    judge = make_judge(reference, frame, RADIUS, constants=SSIM_CONSTANTS)
    prepared, out = Reference(reference, RADIUS, threads=options.threads), np.empty(frame.shape, np.float32)
    judge.check(OURS, prepared.ncc(frame, out), tolerance=EXACT_TOLERANCE)
    candidates: dict[str, Call] = {OURS: lambda: prepared.ncc(frame, out)}
    for peer in PEERS:
        if find_spec(peer.module) is None:
            say(f"{peer.name} is not installed: pip install {peer.package}")
        else:
            candidates[peer.name] = peer.make(judge, reference, frame, options.threads)
    timings = time_side_by_side(candidates, options.rounds, settling_calls=1)
    say(f"peers\n{describe(timings, OURS)}")
    ours = timings[OURS]
    rows = [[OURS, "correlation map, float32, exact sums", str(options.threads), milliseconds(ours.median), "1"]]
    figures = {}
    for peer in PEERS:
        cells = ["not installed", ""]
        if (timing := timings.get(peer.name)) is not None:
            ratio = figures[f"peers/{peer.package}"] = timing.median_ratio(ours)
            cells = [milliseconds(timing.median), f"{ratio:.1f} x"]
        threads = peer.threads.format(options.threads)
        rows.append([peer.name, peer.computes, threads, *cells])
    head = [f"{options.shape}, uint8, 7 x 7 windows", "computes", "threads", "time", "over framencc"]
    packages = [peer.package for peer in PEERS]
    return Findings({"peers": f"{table(head, rows)}\n\n{caption(options, 'numba', *packages)}\n\n{NOTES}"}, figures)


def fast_ssim(_judge: Judge, reference: Picture, frame: Picture, _threads: int) -> Call:
    import fast_ssim

    def score() -> float:
        found: float = fast_ssim.ssim(reference, frame, win_size=SIDE)
        return found

    # It takes sample variances (n - 1), so only scikit-image's own score is the same number.
    from skimage.metrics import structural_similarity

    expected = structural_similarity(reference, frame, win_size=SIDE, data_range=_FULL_SCALE)
    if not abs(score() - expected) <= _FLOAT32_SSIM:
        raise AssertionError(f"Fast-SSIM: {score():.6g}, scikit-image has {expected:.6g}")
    return score


def blazediff(judge: Judge, reference: Picture, frame: Picture, _threads: int) -> Call:
    import blazediff_ssim

    height, width = frame.shape
    both = [np.dstack([one, one, one, np.full_like(one, 255)]).tobytes() for one in (reference, frame)]

    def compare() -> Any:
        return blazediff_ssim.compare_rgba(
            *(*both, width, height),
            **{"metric": "hitchhikers-ssim", "window_size": SIDE, "window_stride": 1, "return_map": True},
        )

    result = compare()
    similarity = np.frombuffer(result.map, "<f4").reshape(result.map_height, result.map_width)
    judge.check("blazediff-ssim", np.pad(similarity, RADIUS), tolerance=_FLOAT32_SSIM, is_similarity=True)
    return compare


def frame_analytics(judge: Judge, reference: Picture, frame: Picture, threads: int) -> Call:
    # The package imports PyTorch; its CPU library is plain C and needs none.
    spec = find_spec("frame_analytics")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "lib"
    library = ctypes.CDLL(str(folder / "libfa_cpu.so"))
    if library.fa_cpu_has_avx2():
        library = ctypes.CDLL(str(folder / "libfa_cpu_avx2.so"))
    pointer, integer, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
    library.fa_cpu_ssim.argtypes = [pointer] * 2 + [integer] * 5 + [pointer, integer] + [real] * 3 + [pointer] * 2
    if library.fa_cpu_set_num_threads(threads) != threads:
        raise AssertionError("frame-analytics: its number of threads cannot be set")
    height, width = frame.shape
    window = np.full(SIDE, 1 / SIDE, np.float32)
    c1, c2 = ((constant * _FULL_SCALE) ** 2 for constant in SSIM_CONSTANTS)
    out, total = np.empty((height - 2 * RADIUS, width - 2 * RADIUS), np.float32), np.empty(1)

    def compare() -> None:
        middle = _FULL_SCALE / 2  # as the package itself shifts pictures, for accuracy
        status = library.fa_cpu_ssim(
            *(reference.ctypes.data, frame.ctypes.data, 0, 1, 1, height, width),
            *(window.ctypes.data, SIDE, middle, c1, c2, out.ctypes.data, total.ctypes.data),
        )
        if status != 0:
            raise AssertionError(f"frame-analytics: status {status}")

    compare()
    judge.check("frame-analytics", np.pad(out, RADIUS), tolerance=_FLOAT32_SSIM, is_similarity=True)
    return compare


def dipy(judge: Judge, reference: Picture, frame: Picture, _threads: int) -> Call:
    from dipy.align.crosscorr import precompute_cc_factors_2d

    static, moving = reference.astype(np.float64), frame.astype(np.float64)

    def factors() -> Any:
        return precompute_cc_factors_2d(static, moving, RADIUS)

    _, _, covariance, variance_x, variance_y = np.moveaxis(np.asarray(factors()), -1, 0)
    judge.check("dipy", covariance / np.sqrt(variance_x * variance_y), tolerance=EXACT_TOLERANCE)
    return factors


def pandora(judge: Judge, reference: Picture, frame: Picture, _threads: int) -> Call:
    import xarray
    from pandora.img_tools import add_disparity
    from pandora.matching_cost import AbstractMatchingCost

    def dataset(picture: Picture) -> Any:
        rows, columns = (np.arange(length) for length in picture.shape)
        attributes = {"no_data_img": None, "valid_pixels": 0, "no_data_mask": 1, "crs": None, "transform": None}
        plane = (["row", "col"], picture.astype(np.float32))
        return xarray.Dataset({"im": plane}, {"row": rows, "col": columns}, attributes)

    left, right = add_disparity(dataset(reference), (0, 0), None), dataset(frame)
    cost = AbstractMatchingCost(matching_cost_method="zncc", window_size=SIDE, subpix=1)
    disparities = [left["disparity"].sel(band_disp=end).data for end in ("min", "max")]

    def correlate() -> Any:
        volume = cost.allocate_cost_volume(left, disparities)
        return cost.compute_cost_volume(left, right, volume)

    judge.check("pandora", correlate()["cost_volume"].data[..., 0], tolerance=EXACT_TOLERANCE)
    return correlate


PEERS = (
    Peer("Fast-SSIM", "Fast-SSIM", "fast_ssim", "mean SSIM, box windows; no map", "its own", fast_ssim),
    Peer(
        "blazediff-ssim, hitchhikers-ssim",
        "blazediff-ssim",
        "blazediff_ssim",
        "SSIM map, box windows from integral images, of RGBA",
        "1",
        blazediff,
    ),
    Peer(
        "frame-analytics' CPU library",
        "frame-analytics",
        "frame_analytics",
        "SSIM map, separable 7 x 7 window, AVX2",
        "{}",
        frame_analytics,
    ),
    Peer(
        "dipy, precompute_cc_factors_2d",
        "dipy",
        "dipy",
        "centred sums of both images, float64, without the quotient",
        "1",
        dipy,
    ),
    Peer("pandora, zncc", "pandora", "pandora", "ZNCC cost volume of one disparity, float32", "1", pandora),
)
