"""A warp is right or it fails: large jumps, shifts beyond half the frame, smooth images, holes, and odd units."""

import warnings

import numpy as np
import pytest
from known_motion import codes, face, moved_by_matrix
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage import data

from framencc.errors import WarpError
from framencc.frames import CodeRange, Frame
from framencc.spec.warp import WarpSpec
from framencc.warps import Warp, WarpStage, open_warp

pytest.importorskip("cv2", reason="OpenCV is an optional extra")

ECC = ("euclidean", "affine", "homography")


def stage_for(reference: np.ndarray, mask: np.ndarray | None = None, **options: object) -> WarpStage:
    depth = CodeRange.of_bits(8) if reference.dtype == np.uint8 else None
    spec = WarpSpec(**({"on_failure": "fail"} | options))
    stage = open_warp(spec, reference, code_range=depth, reference_range=depth, region=mask)
    assert stage is not None
    return stage


def estimate(reference: np.ndarray, frame: np.ndarray, mask: np.ndarray | None = None, **options: object) -> Warp:
    return stage_for(reference, mask, **options).estimate(Frame(frame, 0, 0.0))


def about(middle: tuple[float, float], matrix: np.ndarray) -> np.ndarray:
    to = np.eye(3)
    to[:2, 2] = middle
    return to @ matrix @ np.linalg.inv(to)


def rigid(size: int, dx: float, dy: float, degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return about(((size - 1) / 2, (size - 1) / 2), np.array([[c, -s, dx], [s, c, dy], [0, 0, 1]]))


def corner_error(found: np.ndarray, true: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Largest distance at the corners of (left, top, right, bottom)."""
    corners = np.array([[x, y, 1.0] for x in box[::2] for y in box[1::2]])
    first, second = corners @ found.T, corners @ true.T
    return float(np.linalg.norm(first[:, :2] / first[:, 2:] - second[:, :2] / second[:, 2:], axis=1).max())


def sines(matrix: np.ndarray, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A scene of 40 sines of 8 to 120 px, seen where the inverse of the matrix says: exact at any place."""
    rng = np.random.default_rng(seed)
    length = np.exp(rng.uniform(np.log(8), np.log(120), 40))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 40))
    weight = np.sqrt(length / 120)
    weight /= np.sqrt((weight**2).sum() / 2)
    y, x = np.indices(shape, np.float64)
    u, v, w = np.tensordot(np.linalg.inv(matrix), np.stack([x, y, np.ones(shape)]), 1)
    u, v = u / w, v / w
    waves = zip(weight, 2 * np.pi * np.cos(angle) / length, 2 * np.pi * np.sin(angle) / length, phase, strict=True)
    return 127 + 35 * sum(a * np.sin(p * u + q * v + f) for a, p, q, f in waves)


def seen(scene: np.ndarray, shape: tuple[int, int], dx: float, dy: float) -> np.ndarray:
    """Cut a frame out of the middle of a larger scene; what the reference (no shift) shows at p is at p + (dx, dy)."""
    y, x = np.indices(shape, np.float64)
    top, left = ((large - small) / 2 for large, small in zip(scene.shape, shape, strict=True))
    return map_coordinates(scene, [y + top - dy, x + left - dx], order=3, mode="mirror")


# ECC: jumps, rotations and frames of something else


@pytest.mark.parametrize("warm_start", [True, False])
@pytest.mark.parametrize(
    ("method", "jump"), [("euclidean", (45, 27, 0)), ("affine", (0, 0, 30)), ("homography", (90, 5, -20))]
)
def test_a_jump_within_a_chain_is_found_at_once_and_not_dragged_along(method, jump, warm_start) -> None:
    small = np.ascontiguousarray(face()[::2, ::2])
    stage = stage_for(small, method=method, warm_start=warm_start)
    truth = [rigid(256, 0.2 * i, 0.1 * i, 0.1 * i) for i in range(2)]
    truth += [rigid(256, jump[0] + 0.2 * i, jump[1], jump[2]) for i in range(2)]
    for index, matrix in enumerate(truth):
        warp = stage.estimate(Frame(codes(moved_by_matrix(small, matrix)), index, 0.0))
        assert corner_error(warp.matrix, matrix, (0, 0, 255, 255)) < 0.1
        assert warp.report["ecc_correlation"] > 0.9


@pytest.mark.parametrize("method", ECC)
def test_ecc_fails_on_a_frame_of_something_else(method: str) -> None:
    rng = np.random.default_rng(0)
    for other in (rng.uniform(0, 255, (256, 256)), 127 + 90 * np.sign(gaussian_filter(rng.normal(size=(256, 256)), 3))):
        stage = stage_for(np.ascontiguousarray(face()[::2, ::2]), method=method)
        stage.estimate(Frame(np.ascontiguousarray(face()[::2, ::2]), 0, 0.0))
        with pytest.raises(WarpError, match=r"ECC (found no match|did not converge)"):
            stage.estimate(Frame(codes(other), 1, 0.0))


@pytest.mark.parametrize(("method", "blur"), [("euclidean", 0), ("euclidean", 5), ("affine", 3), ("homography", 5)])
def test_ecc_fails_on_another_picture_of_little_detail(method: str, blur: float) -> None:
    def small(picture: np.ndarray, left: int, top: int) -> np.ndarray:
        part = picture[top : top + 180, left : left + 180].astype(np.float64)
        return codes(gaussian_filter(part, blur))

    cat, man = data.chelsea() @ np.array([0.299, 0.587, 0.114]), data.camera()
    pictures = [small(face(), 130, 10), small(cat, 90, 70), small(man, 150, 70)]
    for number, reference in enumerate(pictures):
        with pytest.raises(WarpError, match=r"ECC (found no match|did not converge)"):
            estimate(reference, pictures[number - 1], method=method)
        matrix = rigid(180, 9, -6, 4)
        found = estimate(reference, codes(moved_by_matrix(reference, matrix)), method=method)
        assert corner_error(found.matrix, matrix, (0, 0, 179, 179)) < (0.5 if blur else 0.1)


def test_a_frame_after_a_failed_one_is_found_from_whatever_came_before() -> None:
    small = np.ascontiguousarray(face()[::2, ::2])
    noise = np.random.default_rng(0).integers(0, 256, small.shape).astype(np.uint8)
    stage = stage_for(small, method="euclidean", on_failure="previous")
    matrix = rigid(256, 40, 10, 5)
    frames = [small, noise, codes(moved_by_matrix(small, matrix))]
    warps = [stage.estimate(Frame(frame, index, 0.0)) for index, frame in enumerate(frames)]
    assert [warp.report["status"] for warp in warps] == ["estimated", "previous", "estimated"]
    assert corner_error(warps[2].matrix, matrix, (0, 0, 255, 255)) < 0.1


@pytest.mark.parametrize("tilt", [0.0004, 0.0012])
def test_a_matrix_is_judged_where_the_mask_is_not_at_the_far_corners_of_the_frame(tilt: float) -> None:
    height, width, side, left, top = 360, 640, 160, 470, 20
    back = 128 + 450 * gaussian_filter(np.random.default_rng(3).normal(0, 1, (height, width)), 6)
    reference = back.copy()
    reference[top : top + side, left : left + side] = face()[30 : 30 + side, 150 : 150 + side]
    tip = np.eye(3)
    tip[2, 0] = 2 * tilt
    true = about((left + side / 2, top + side / 2), tip)
    y, x = np.indices((height, width), np.float64)
    u, v, w = np.tensordot(np.linalg.inv(true), np.stack([x, y, np.ones_like(x)]), 1)
    inside = (w > 0) & (u / w >= left) & (u / w <= left + side - 1) & (v / w >= top) & (v / w <= top + side - 1)
    places = [np.clip(v / w, 0, height - 1), np.clip(u / w, 0, width - 1)]
    frame = np.where(inside, map_coordinates(reference, places, order=1), back)
    region = np.zeros((height, width), bool)
    region[top : top + side, left : left + side] = True
    warp = estimate(codes(reference), codes(frame), region, method="homography", region="mask")
    assert corner_error(warp.matrix, true, (left, top, left + side - 1, top + side - 1)) < 0.4


# ECC: changes of scale


@pytest.mark.parametrize("scale", [1.06, 1 / 1.06])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", ["affine", "homography"])
def test_a_change_of_scale_is_found_to_a_tenth_of_a_pixel(method: str, seed: int, scale: float) -> None:
    shape = 240, 320
    matrix = about((159.5, 119.5), np.diag([scale, scale, 1]))
    frame = sines(matrix, shape, seed)
    stage = stage_for(codes(sines(np.eye(3), shape, seed)), method=method, warm_start=False)
    falling = frame * np.linspace(1, 0.55, 320)
    for index, (light, most) in enumerate(((frame, 0.1), (0.6 * frame + 30, 0.1), (falling, 0.4))):
        warp = stage.estimate(Frame(codes(light), index, 0.0))
        assert corner_error(warp.matrix, matrix, (0, 0, 319, 239)) < most


@pytest.mark.slow
@pytest.mark.parametrize("method", ["affine", "homography"])
def test_corners_of_a_large_frame_are_found_to_a_tenth_of_a_pixel(method: str) -> None:
    shape = 1080, 1920
    matrix = about((959.5, 539.5), np.diag([1.01, 1.01, 1]))
    warp = estimate(codes(sines(np.eye(3), shape)), codes(0.6 * sines(matrix, shape) + 30), method=method)
    assert corner_error(warp.matrix, matrix, (0, 0, 1919, 1079)) < 0.1


def test_a_rigid_motion_stays_rigid_in_frames_of_odd_sizes() -> None:
    reference = np.ascontiguousarray(face()[:333, :461])
    matrix = rigid(300, 12, -7, 3)
    found = estimate(reference, codes(moved_by_matrix(reference, matrix)), method="euclidean").matrix
    np.testing.assert_allclose(found[:2, :2] @ found[:2, :2].T, np.eye(2), atol=1e-5)
    assert corner_error(found, matrix, (0, 0, 460, 332)) < 0.05


# Translation


@pytest.mark.parametrize("kind", ["float", "darker codes", "noise"])
@pytest.mark.parametrize(("blobs", "blur"), [(6, 3), (2, 8), (12, 3)])
def test_the_translation_of_images_out_of_focus_is_found(blobs: int, blur: int, kind: str) -> None:
    rng = np.random.default_rng(blobs)
    scene = gaussian_filter((gaussian_filter(rng.normal(size=(300, 360)), blobs) > 0) * 255.0, blur)
    for shift in ((3, 5), (6, -4), (-30, 20), (0.4, -2.6), (0, 0)):
        reference, frame = (seen(scene, (200, 240), *where) for where in ((0, 0), shift))
        if kind == "float":
            warp = estimate(reference.astype(np.float32) / 255, frame.astype(np.float32) / 255, method="translation")
        elif kind == "noise":
            noise = rng.normal(0, 2, (2, *frame.shape))
            warp = estimate(codes(reference + noise[0]), codes(frame + noise[1]), method="translation")
        else:
            warp = estimate(codes(reference), codes(0.6 * frame + 30), method="translation")
        assert np.hypot(warp.report["dx"] - shift[0], warp.report["dy"] - shift[1]) <= 0.2, shift
        assert warp.report["overlap_correlation"] > 0.9


@pytest.mark.parametrize("unit", [1e-30, 1e-4, 1.0, 1e30])
def test_a_translation_is_found_in_any_unit_of_floats(unit: float) -> None:
    picture = face()[:128, 130:258].astype(np.float32) * np.float32(unit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp = estimate(picture, np.roll(picture, (3, 5), (0, 1)), method="translation")
    assert (warp.report["dx"], warp.report["dy"]) == (5, 3)
    assert warp.report["phase_correlation_error"] < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_of_more_than_half_is_not_taken_for_its_complement(axis: int) -> None:
    strip = gaussian_filter(np.random.default_rng(0).normal(size=(200, 800)), 1)
    strip = codes(127 + 40 * strip / strip.std())
    reference = strip[:, 300:500]
    stage = stage_for(reference if axis == 1 else np.ascontiguousarray(reference.T), method="translation")
    for index, d in enumerate((30, -30, 90, 110, 130, 150, -120, -160)):
        frame = strip[:, 300 + d : 500 + d]
        warp = stage.estimate(Frame(np.ascontiguousarray(frame if axis == 1 else frame.T), index, 0.0))
        found = (warp.report["dx"], warp.report["dy"])
        assert np.hypot(found[1 - axis] + d, found[axis]) <= 0.2


@pytest.mark.parametrize("options", [{}, {"window": "hann"}, {"estimation_size": 128}])
def test_shifts_along_both_axes_of_more_than_half_are_found(options: dict[str, object]) -> None:
    rng = np.random.default_rng(4)
    blobs = (gaussian_filter(rng.normal(size=(640, 640)), 6) > 0) * 255.0
    for scene in (
        gaussian_filter(blobs, 3).astype(np.float32),
        codes(127 + 140 * gaussian_filter(rng.normal(size=(640, 640)), 1)),
    ):
        stage = stage_for(np.ascontiguousarray(scene[200:456, 200:456]), method="translation", **options)
        for index, (dx, dy) in enumerate(((-140, 150), (160, 20), (100, 100), (-128, 0), (1, -60))):
            frame = np.ascontiguousarray(scene[200 - dy : 456 - dy, 200 - dx : 456 - dx])
            warp = stage.estimate(Frame(frame, index, 0.0))
            assert np.hypot(warp.report["dx"] - dx, warp.report["dy"] - dy) <= 0.2


def test_a_translation_that_nothing_supports_fails() -> None:
    rng = np.random.default_rng(0)
    strip = codes(127 + 200 * gaussian_filter(rng.normal(size=(200, 900)), 1))
    ramp = np.add.outer(np.arange(200.0), np.arange(240.0)).astype(np.float32)
    blurred = [gaussian_filter(rng.normal(size=(200, 240)), 10).astype(np.float32) for _ in range(2)]
    for reference, frame in (
        (strip[:, :200], strip[:, 600:800]),
        (strip[:, :200], strip[:, 190:390]),
        blurred,
        (ramp, ramp + 3),
    ):
        with pytest.raises(WarpError, match="phase correlation found no translation"):
            estimate(np.ascontiguousarray(reference), np.ascontiguousarray(frame), method="translation")


# Holes and units of floats


def holed_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return reference, frame moved by (4, 3), a hole, and where flow near it is judged."""
    rng = np.random.default_rng(0)
    reference = face()[:240, 90:330].astype(np.float32)
    matrix = np.array([[1, 0, 4.0], [0, 1, 3], [0, 0, 1]])
    frame = moved_by_matrix(reference, matrix) + rng.normal(0, 1.5, reference.shape)
    reference = (reference + rng.normal(0, 1.5, reference.shape)).astype(np.float32)
    hole = np.zeros(reference.shape, bool)
    hole[60:140, 100:180] = True
    near = np.zeros_like(hole)
    near[20:180, 60:220] = True
    near[48:152, 88:192] = False
    return reference, frame.astype(np.float32), hole, near


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("method", "most"), [("flow", 0.3), ("euclidean", 0.05), ("translation", 0.05)])
def test_a_hole_does_not_drag_what_is_around_it(method: str, most: float, value: float) -> None:
    reference, frame, hole, near = holed_pair()
    holes = {"frame": (reference, np.where(hole, np.float32(value), frame))}
    if np.isnan(value):
        holes["both"] = (np.where(hole, np.float32(value), reference), np.where(hole, np.float32(value), frame))
        holes["reference"] = (np.where(hole, np.float32(value), reference), frame)
    for first, second in holes.values():
        warp = estimate(first, second, method=method)
        error = np.linalg.norm(warp.field(reference.shape) - [4, 3], axis=-1)[near]
        assert error.mean() < most


def test_a_hole_in_one_channel_of_three_is_a_hole() -> None:
    reference, frame, hole, near = holed_pair()
    planes = np.stack([frame] * 3)
    planes[1][hole] = np.nan
    warp = estimate(np.stack([reference] * 3), planes, method="flow")
    assert np.linalg.norm(warp.displacement_field - [4, 3], axis=-1)[near].mean() < 0.3


@pytest.mark.parametrize("normalisation_sigma", [0, 40])
@pytest.mark.parametrize("method", ["flow", "euclidean"])
def test_a_constant_or_a_unit_of_floats_does_not_change_the_warp(method: str, normalisation_sigma: float) -> None:
    reference, frame, _, _ = holed_pair()
    fields = []
    for unit, constant in ((1, 0), (1, -128), (1, -300), (1 / 256, -7), (8, 5000)):
        moved = [
            (picture * np.float32(unit) + np.float32(constant)).astype(np.float32) for picture in (reference, frame)
        ]
        fields.append(estimate(*moved, method=method, normalisation_sigma=normalisation_sigma).field(reference.shape))
    inner = np.s_[20:-20, 20:-20]
    assert np.linalg.norm(fields[0] - [4, 3], axis=-1)[inner].mean() < 0.2
    for field in fields[1:]:
        assert np.abs(field - fields[0])[inner].mean() < 0.02
    log = [np.log2(np.maximum(picture, 0) + 1) - 8 for picture in (reference, frame)]
    found = estimate(*log, method=method, normalisation_sigma=normalisation_sigma).field(reference.shape)
    assert np.linalg.norm(found - [4, 3], axis=-1)[inner].mean() < 0.3
