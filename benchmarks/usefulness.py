"""How well a confidence map tells where the flow is wrong: the area under the sparsification error, lower is better.

Remove pixels from the least confident on, and look at the mean error of the flow in those that remain, as a share of
what it was; the area between that curve and the one of a map that knows the error is the figure (Ilg et al.,
"Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow", ECCV 2018, section 5.1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.tables import Findings, Options, machine, table
from framencc import local_ncc
from framencc.channels import to_luma
from framencc.frames import CodeRange, Frame
from framencc.spec.warp import WarpSpec
from framencc.warps import open_warp

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Gray = npt.NDArray[np.uint8]

DEFAULTS = {"rounds": 1}
FACES = {"radius": 5, "noise_sigma": 3, "flat": 1}
SCALE = 2.0
_STEPS = 100
_EDGE = 12  # pixels at the picture's edge whose true positions may lie outside

NOTES = f"""\
ours: max(rho, 0) exp(-d / {SCALE:g}) with radius = 5, noise_sigma = 3, flat = 1 and d the forward-backward distance in
pixels, as in configs/faces_flow.toml. Plain ZNCC: radius 3, all else default. SSIM: scikit-image, 7 x 7 windows. The
flow is framencc's own (`warp.method` = flow, preset fast). Motorcycle: scikit-image's stereo_motorcycle, whose true
disparity is known; the others: scikit-image's astronaut under a known smooth warp with noise, and an occluding texture,
a change of gain across the picture, strong noise, or a blurred half."""


@dataclass(frozen=True)
class Case:
    """A reference, a frame, where the frame's pixels truly are, and where that is known."""

    name: str
    reference: Gray
    frame: Gray
    field: Array
    known: Mask


def cases() -> Iterator[Case]:
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity)
    field = np.zeros((*disparity.shape, 2), np.float32)
    field[..., 0] = -np.where(known, disparity, 0)
    yield Case("motorcycle", to_luma(left), to_luma(right), field, known)
    yield from _astronauts()


def _astronauts() -> Iterator[Case]:
    from scipy.ndimage import gaussian_filter, map_coordinates
    from skimage import data

    reference = to_luma(data.astronaut())
    height, width = reference.shape
    y, x = np.indices(reference.shape, np.float32)
    field = np.stack([6 * np.sin(y / 60) + 4 * np.cos(x / 45), 5 * np.cos(x / 70 + y / 90)], axis=-1)
    back = np.zeros_like(field)
    for _ in range(30):  # the inverse is the fixed point of b(p) = -f(p + b(p))
        back = -np.stack(
            [
                map_coordinates(field[..., i], [y + back[..., 1], x + back[..., 0]], order=1, mode="nearest")
                for i in (0, 1)
            ],
            axis=-1,
        )
    plain = map_coordinates(reference.astype(np.float64), [y + back[..., 1], x + back[..., 0]], order=3, mode="mirror")
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(0, 1, reference.shape), 3)
    occluded = np.where(np.hypot(x - 300, y - 180) < 70, 128 + 35 * texture / texture.std(), plain)
    blurred = np.where(x < width / 2, plain, gaussian_filter(plain, 3))
    known = np.zeros(reference.shape, np.bool_)
    known[_EDGE : height - _EDGE, _EDGE : width - _EDGE] = True
    for name, picture, sigma in (
        ("occluder", occluded, 2),
        ("gain", plain * (0.6 + 0.4 * x / width) + 10, 1),
        ("noise", plain, 8),
        ("blur", blurred, 1),
    ):
        frame = np.clip(np.rint(picture + rng.normal(0, sigma, picture.shape)), 0, 255).astype(np.uint8)
        yield Case(name, reference, frame, field.astype(np.float32), known)


def sparsification_area(confidence: Array, error: Array) -> float:
    """The area under the sparsification error of pixels in a row."""

    def curve(order: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        remaining = np.cumsum(error[order][::-1], dtype=np.float64)[::-1]
        removed = (np.arange(_STEPS) * len(error)) // _STEPS
        return remaining[removed] / (len(error) - removed) / error.mean(dtype=np.float64)

    best = curve(np.argsort(-error, kind="stable"))
    return float(np.mean(curve(np.argsort(confidence, kind="stable")) - best))


def measures(case: Case, warped: Gray, distance: Array) -> dict[str, Array]:
    """Every confidence, the greater the better."""
    from skimage.metrics import structural_similarity

    ours = np.maximum(local_ncc(case.reference, warped, **FACES), 0) * np.exp(-distance / SCALE)
    return {
        "ours": ours,
        "absolute difference": -np.abs(warped.astype(np.float32) - case.reference),
        "SSIM map": structural_similarity(case.reference, warped, win_size=7, full=True)[1],
        "forward-backward": -distance,
        "plain ZNCC": local_ncc(case.reference, warped),
    }


def measure_case(case: Case) -> tuple[float, dict[str, float]]:
    """The flow's mean end-point error in pixels, and every confidence's area."""
    spec = WarpSpec(method="flow", forward_backward="weight", forward_backward_scale=SCALE)
    stage = open_warp(spec, case.reference, code_range=CodeRange.of_bits(8), reference_range=CodeRange.of_bits(8))
    frame = Frame(case.frame, 0, 0.0)
    warp = stage.estimate(frame)
    warped = stage.apply(frame, warp)
    assert warp.displacement_field is not None
    assert warp.forward_backward is not None
    error = np.linalg.norm(warp.displacement_field - case.field, axis=-1)
    counts = case.known if warped.codes is None else case.known & (warped.codes == 0)
    codes = np.rint(warped.planes[0] / stage.gain).astype(np.uint8)
    found = measures(case, codes, warp.forward_backward)
    areas = {name: sparsification_area(values[counts], error[counts]) for name, values in found.items()}
    return float(error[counts].mean()), areas


def measure(_options: Options) -> Findings:
    rows, every = [], []
    for case in cases():
        error, areas = measure_case(case)
        every.append(areas)
        rows.append([case.name, f"{error:.2f} px", *(f"{area:.3f}" for area in areas.values())])
    means = {name: float(np.mean([areas[name] for areas in every])) for name in every[0]}
    rows.append(["mean", "", *(f"{mean:.3f}" for mean in means.values())])
    text = f"{table(['case', 'flow error', *means], rows)}\n\n{machine('opencv-python', 'scikit-image')}.\n\n{NOTES}"
    return Findings({"usefulness": text}, {f"usefulness/{name}": mean for name, mean in means.items()})
