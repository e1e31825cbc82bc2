"""Known motion is found, in every method, whatever the exposure; what is not found is told."""

import sys

import numpy as np
import pytest
from known_motion import codes, face, grid, moved_by_field, moved_by_matrix, smooth_field
from scipy.ndimage import fourier_shift
from skimage import data
from skimage.transform import resize_local_mean

from framencc import Reference, local_ncc
from framencc.errors import MissingExtraError, SpecError, WarpError
from framencc.frames import CodeRange, Frame, frozen
from framencc.kernels.launch import launch
from framencc.kernels.normalisation import normalise
from framencc.sampling import area_mean
from framencc.spec.warp import WarpSpec
from framencc.warps import Warp, WarpStage, open_warp
from framencc.warps.base import field_statistics
from framencc.warps.opencv import to_eight_bits
from framencc.warps.views import View, require_texture

cv2 = pytest.importorskip("cv2", reason="OpenCV is an optional extra")

ECC = ("euclidean", "affine", "homography")
EIGHT = {"code_range": CodeRange.of_bits(8), "reference_range": CodeRange.of_bits(8)}
MATRICES = {
    "euclidean": np.array([[0.9994, -0.0349, 11.3], [0.0349, 0.9994, -7.6], [0, 0, 1]]),
    "affine": np.array([[1.03, -0.02, 6.4], [0.015, 0.98, -9.1], [0, 0, 1]]),
    "homography": np.array([[1.02, 0.01, -5.2], [-0.02, 1.01, 8.3], [4e-5, -3e-5, 1]]),
}


def estimate(frame: np.ndarray, reference: np.ndarray | None = None, **options: object) -> tuple[WarpStage, Warp]:
    stage = open_warp(WarpSpec(**options), face() if reference is None else reference, **EIGHT)
    assert stage is not None
    return stage, stage.estimate(Frame(frame, 0, 0.0))


def corner_error(found: np.ndarray, true: np.ndarray, shape: tuple[int, int]) -> float:
    height, width = shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1.0]])
    first, second = corners @ found.T, corners @ true.T
    return float(np.linalg.norm(first[:, :2] / first[:, 2:] - second[:, :2] / second[:, 2:], axis=1).max())


@pytest.mark.parametrize("window", ["none", "hann"])
@pytest.mark.parametrize("shift", [(3.3, -2.7), (0.4, 0.2), (-20.1, 11.6), (0, 0)])
def test_translations_are_found_to_a_tenth_of_a_pixel(shift: tuple[float, float], window: str) -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    _, warp = estimate(codes(moved_by_matrix(face(), matrix)), method="translation", window=window)
    assert np.abs(warp.matrix - matrix).max() <= 0.1 + 1e-9
    assert (warp.report["dx"], warp.report["dy"]) == tuple(warp.matrix[:2, 2])
    assert 0 <= warp.report["phase_correlation_error"] < 0.6


@pytest.mark.parametrize(("shift", "interpolation"), [((2.1, 0.3), "linear"), ((5.3, -3.6), "cubic")])
def test_the_seeds_case_correlates_the_registered_picture(shift: tuple[float, float], interpolation: str) -> None:
    # Moved in the frequencies, so nothing is lost; near half pixels linear interpolation itself blurs to 0.97.
    spectrum = fourier_shift(np.fft.fft2(face().astype(np.float64)), shift[::-1])
    frame = codes(np.fft.ifft2(spectrum).real)
    stage, warp = estimate(frame, method="translation", interpolation=interpolation)
    warped = stage.apply(Frame(frame, 0, 0.0), warp)
    rho = local_ncc(face(), warped.planes[0])
    assert np.median(rho[warped.codes == 0]) > 0.98
    # What the seed did: register, and then correlate the picture that had not been moved.
    assert np.median(local_ncc(face(), frame)) < 0.5


@pytest.mark.parametrize("estimation_size", [None, 256])
@pytest.mark.parametrize("exposure", [(1.0, 0.0), (0.6, 30.0)])
@pytest.mark.parametrize("method", ECC)
def test_matrices_are_found_to_a_tenth_of_a_pixel_at_the_corners(method, exposure, estimation_size) -> None:
    gain, offset = exposure
    frame = codes(gain * moved_by_matrix(face(), MATRICES[method]) + offset)
    _, warp = estimate(frame, method=method, estimation_size=estimation_size, epsilon=1e-6, max_iterations=200)
    assert corner_error(warp.matrix, MATRICES[method], face().shape) <= (0.1 if estimation_size is None else 0.3)
    assert warp.report["status"] == "estimated"
    assert 0.9 < warp.report["ecc_correlation"] <= 1
    assert warp.report["matrix"] == warp.matrix.tolist()


def test_a_mask_keeps_what_moves_differently_out_of_ecc() -> None:
    x, y = grid(face().shape)
    region = np.hypot(x - 225, y - 120) < 110
    background = codes(moved_by_matrix(face(), np.array([[1, 0, 14.0], [0, 1, 9.0], [0, 0, 1]])))
    frame = np.where(region, codes(moved_by_matrix(face(), MATRICES["affine"])), background)
    spec = WarpSpec(method="affine", region="mask", epsilon=1e-6, max_iterations=200)
    stage = open_warp(spec, face(), **EIGHT, region=np.hypot(x - 225, y - 120) < 80)
    found = stage.estimate(Frame(frame, 0, 0.0)).matrix
    assert corner_error(found, MATRICES["affine"], face().shape) < 1.5
    with pytest.raises(SpecError, match=r"^warp\.region = mask needs ncc\.mask"):
        open_warp(spec, face(), **EIGHT)


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
@pytest.mark.parametrize("exposure", [(1.0, 0.0), (0.6, 30.0)])
def test_flow_is_found_to_half_a_pixel(preset: str, exposure: tuple[float, float]) -> None:
    field = smooth_field(face().shape, 0.6)
    frame = codes(exposure[0] * moved_by_field(face(), field) + exposure[1])
    _, warp = estimate(frame, method="flow", preset=preset, forward_backward="weight")
    error = np.linalg.norm(warp.displacement_field - field, axis=-1)[12:-12, 12:-12]
    assert error.mean() < (0.5 if preset != "ultrafast" else 0.7)
    assert warp.report["mean_displacement"] == pytest.approx(np.linalg.norm(field, axis=-1).mean(), abs=0.3)
    # Where the way there and back does not close, the flow is worse than elsewhere.
    distance = warp.forward_backward[12:-12, 12:-12]
    assert np.median(distance) < 0.6
    assert error[distance > np.quantile(distance, 0.95)].mean() > 2 * error.mean()


def test_flow_of_a_smaller_view_is_given_in_full_pixels() -> None:
    field = smooth_field(face().shape, 0.6)
    frame = codes(moved_by_field(face(), field))
    _, warp = estimate(frame, method="flow", estimation_size=256)
    assert np.linalg.norm(warp.displacement_field - field, axis=-1)[16:-16, 16:-16].mean() < 1


def test_flow_in_a_region_leaves_the_rest_without_displacement() -> None:
    field = smooth_field(face().shape, 0.6)
    frame = codes(moved_by_field(face(), field))
    x, y = grid(face().shape)
    region = (np.abs(x - 225) < 60) & (np.abs(y - 130) < 70)
    stage = open_warp(WarpSpec(method="flow", region="mask"), face(), **EIGHT, region=region)
    warp = stage.estimate(Frame(frame, 0, 0.0))
    assert np.linalg.norm(warp.displacement_field - field, axis=-1)[region].mean() < 0.5
    warped = stage.apply(Frame(frame, 0, 0.0), warp)
    assert warped.codes[0, 0] == 3
    assert not warped.codes[region].any()


def test_the_true_disparity_of_a_stereo_pair_brings_one_view_onto_the_other(tmp_path) -> None:
    left, right, disparity = data.stereo_motorcycle()
    luma = [np.rint(view @ np.array([0.299, 0.587, 0.114])).astype(np.uint8) for view in (left, right)]
    known = np.isfinite(disparity)
    field = np.full((1, *disparity.shape, 2), np.nan, np.float32)
    field[0][known] = np.stack([-disparity, np.zeros_like(disparity)], axis=-1)[known]
    np.save(tmp_path / "field.npy", field)
    spec = WarpSpec(method="field", field=str(tmp_path / "field.npy"))
    stage = open_warp(spec, luma[0], **EIGHT, n_frames=1)
    frame = Frame(luma[1], 0, 0.0)
    warped = stage.apply(frame, stage.estimate(frame))
    rho, validity = np.empty(known.shape, np.float32), np.empty(known.shape, np.uint8)
    Reference.from_planes(luma[0][np.newaxis], Reference(luma[0]).spec).correlate(
        warped.planes, rho, validity, codes=warped.codes
    )
    valid = validity == 0
    assert set(np.unique(validity[~known])) == {3}
    assert rho[valid].mean() >= local_ncc(luma[0], luma[1])[valid].mean() + 0.25


@pytest.mark.parametrize("method", ["translation", *ECC])
def test_a_frame_without_texture_has_no_warp(method: str) -> None:
    frame = np.full(face().shape, 90, np.uint8)
    with pytest.raises(WarpError, match=r"^frame 0: .*; warp\.on_failure = invalid marks such frames and continues$"):
        estimate(frame, method=method, on_failure="fail")
    _, warp = estimate(frame, method=method, on_failure="identity")
    assert warp.report["status"] == "identity"
    assert warp.report["problem"]
    assert warp.found
    np.testing.assert_array_equal(warp.field(face().shape), 0)
    _, warp = estimate(frame, method=method)
    assert (warp.report["status"], warp.found) == ("invalid", False)


def test_after_a_failure_the_warp_before_serves_inside_a_chain_only() -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = 4, -2
    good, bad = codes(moved_by_matrix(face(), matrix)), np.zeros(face().shape, np.uint8)
    stage = open_warp(WarpSpec(method="translation", restart=3, on_failure="previous"), face(), **EIGHT)
    pictures = [good, bad, bad, bad, good, bad]
    warps = [stage.estimate(Frame(picture, index, 0.0)) for index, picture in enumerate(pictures)]
    assert [warp.report["status"] for warp in warps] == [
        "estimated", "previous", "previous", "identity", "estimated", "previous",
    ]  # fmt: skip
    np.testing.assert_array_equal(warps[2].matrix, warps[0].matrix)


@pytest.mark.parametrize("method", ["translation", *ECC, "flow"])
def test_the_identity_is_found_for_the_reference_itself(method: str) -> None:
    stage, warp = estimate(face(), method=method)
    assert np.abs(warp.field(face().shape)).max() < 0.05
    if method == "translation":
        warped = stage.apply(Frame(face(), 0, 0.0), warp)
        np.testing.assert_array_equal(warped.planes[0], face().astype(np.uint16) * 256)
        assert warped.codes is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("method", ["translation", "affine", "flow"])
def test_every_kind_of_picture_can_be_warped(method: str, dtype: type) -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = 3.0, -2.0
    scale = {np.uint8: 1, np.uint16: 4, np.float32: 1 / 255}[dtype]
    bits = {np.uint8: 8, np.uint16: 10, np.float32: None}[dtype]
    pictures = face(), codes(moved_by_matrix(face(), matrix))
    reference, frame = ((picture * np.float64(scale)).astype(dtype) for picture in pictures)
    colour = np.stack([frame] * 3)
    depth = None if bits is None else CodeRange.of_bits(bits)
    stage = open_warp(WarpSpec(method=method), np.stack([reference] * 3), code_range=depth, reference_range=depth)
    warp = stage.estimate(Frame(colour, 0, 0.0))
    field = warp.field(face().shape)[16:-16, 16:-16]
    assert np.linalg.norm(field - [3, -2], axis=-1).mean() < 0.2
    warped = stage.apply(Frame(colour, 0, 0.0), warp)
    assert warped.planes.shape == colour.shape
    assert warped.planes.dtype == (np.float32 if dtype == np.float32 else np.uint16)
    if method == "translation":
        inside = warped.codes == 0
        expected = reference if dtype == np.float32 else reference.astype(np.uint16) * np.uint16(stage.gain)
        np.testing.assert_array_equal(warped.planes[0][inside], expected[inside])


def test_a_check_marks_pixels_whose_way_back_ends_elsewhere() -> None:
    field = smooth_field(face().shape, 0.8)
    picture = moved_by_field(face(), field)
    x, y = grid(face().shape)
    hidden = np.hypot(x - 300, y - 180) < 50
    picture[hidden] = np.random.default_rng(0).uniform(0, 255, np.count_nonzero(hidden))
    frame = Frame(codes(picture), 0, 0.0)
    stage = open_warp(WarpSpec(method="flow", forward_backward="check", forward_backward_limit=1.5), face(), **EIGHT)
    warp = stage.estimate(frame)
    warped = stage.apply(frame, warp)
    failed = warp.forward_backward > 1.5
    assert failed[hidden].mean() > 0.5
    np.testing.assert_array_equal(warped.codes[failed & (warped.codes != 3)], 7)
    assert not (warped.codes[~failed] == 7).any()
    assert warp.report["share_failing_check"] == pytest.approx(failed.mean())


@pytest.mark.parametrize(("method", "share"), [("affine", 1), ("flow", 2)])
def test_threads_limit_opencv_for_the_time_of_the_run(method: str, share: int) -> None:
    before = cv2.getNumThreads()
    for threads in (1, before + 3):
        stage = open_warp(WarpSpec(method=method), face(), **EIGHT, threads=threads)
        with stage.limited():
            assert cv2.getNumThreads() == max(1, threads // share)
        assert cv2.getNumThreads() == before
    with open_warp(WarpSpec(method=method), face(), **EIGHT).limited():
        assert cv2.getNumThreads() == max(1, before // share)
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize("forward_backward", ["off", "weight"])
def test_a_flow_does_not_depend_on_the_number_of_opencvs_threads(forward_backward: str) -> None:
    found = []
    for threads in (1, 2, 6):
        stage = open_warp(WarpSpec(method="flow", forward_backward=forward_backward), face(), **EIGHT, threads=threads)
        with stage.limited():
            warps = [stage.estimate(Frame(np.roll(face(), index, axis=1), index, 0.0)) for index in range(3)]
        found.append([(warp.displacement_field, warp.forward_backward, warp.report) for warp in warps])
    for others in found[1:]:
        np.testing.assert_equal(others, found[0])


@pytest.mark.parametrize("method", [*ECC, "flow"])
def test_without_opencv_the_message_names_the_extra(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r'needs OpenCV; install it with: pip install "framencc\[opencv\]"$'):
        estimate(face(), method=method)
    assert estimate(face(), method="translation")[1].report["status"] == "estimated"


@pytest.mark.parametrize("kinds", [("u1", "f4"), ("f4", "u1"), ("f4", "f4"), ("u1", "u2")])
@pytest.mark.parametrize("method", ["affine", "flow"])
def test_pictures_of_different_kinds_are_seen_alike(method: str, kinds: tuple[str, str]) -> None:
    matrix = np.array([[1, 0, -4.0], [0, 1, 3.0], [0, 0, 1]])
    scales = {"u1": (1, CodeRange.of_bits(8)), "u2": (4, CodeRange.of_bits(10)), "f4": (1 / 255, None)}
    pictures = face(), codes(moved_by_matrix(face(), matrix))
    reference, frame = ((p * np.float64(scales[k][0])).astype(k) for p, k in zip(pictures, kinds, strict=True))
    if kinds[0] == "f4":
        reference[7, 7] = 500.0  # a hot pixel is no white
    ranges = {"reference_range": scales[kinds[0]][1], "code_range": scales[kinds[1]][1]}
    warp = open_warp(WarpSpec(method=method), reference, **ranges).estimate(Frame(frame, 0, 0.0))
    assert np.median(np.linalg.norm(warp.field(face().shape) - [-4, 3], axis=-1)) < 0.1


@pytest.mark.parametrize("estimation_size", [128, 200])
def test_a_smaller_view_does_not_lose_the_edge(estimation_size: int) -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = 0.4, 0.3
    frame = codes(moved_by_matrix(face(), matrix))
    options = {"method": "flow", "forward_backward": "check", "estimation_size": estimation_size}
    _, warp = estimate(frame, **options)
    assert (warp.forward_backward[3:-1, 3:-1] < 2).mean() > 0.995
    assert (warp.forward_backward[:, 500:510] < 2).mean() > 0.9


def test_a_smaller_view_is_the_mean_of_areas() -> None:
    picture = np.random.default_rng(0).uniform(0, 1, (75, 100)).astype(np.float32)
    view = View.choose((75, 100), 64, None)
    assert view.shape == (48, 64)
    np.testing.assert_allclose(view.gray(picture), resize_local_mean(picture, view.shape), atol=1e-6)


@pytest.mark.parametrize("estimation_size", [None, 100, 200])
@pytest.mark.parametrize("method", ["translation", *ECC, "flow"])
def test_nothing_to_see_is_a_failure_at_every_size(method: str, estimation_size: int | None) -> None:
    for frame in (np.full(face().shape, 90, np.uint8), np.full(face().shape, np.nan, np.float32)):
        spec = WarpSpec(method=method, estimation_size=estimation_size, on_failure="fail")
        stage = open_warp(spec, face(), **EIGHT | ({} if frame.dtype == np.uint8 else {"code_range": None}))
        with pytest.raises(WarpError, match="the frame has no texture"):
            stage.estimate(Frame(frame, 0, 0.0))


def test_texture_is_what_exceeds_rounding_however_little_of_the_picture_has_it() -> None:
    for level in (0.0, 1.0, -1000.0):
        flat = np.full((100, 120), level, np.float32)
        with pytest.raises(WarpError, match="the frame has no texture"):
            require_texture(flat, "frame")
        for share, textured in ((0.5, False), (2.0, True)):  # of the limit, around which only the deviation decides
            picture = np.random.default_rng(0).normal(1.0, share * 1e-6, flat.shape)
            if textured:
                require_texture(picture, "frame")
            else:
                with pytest.raises(WarpError, match="the frame has no texture"):
                    require_texture(picture, "frame")
        flat[99, 119] += 1.0
        require_texture(flat, "frame")


@pytest.mark.parametrize("shape", [(48, 64), (75, 64), (48, 100), (75, 100), (1, 1), (74, 99)])
def test_moments_are_the_means_of_areas_of_the_picture_and_of_its_squares(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).uniform(0, 1, (75, 100)).astype(np.float32)
    moments = np.empty(shape, np.float32), np.empty(shape, np.float32)
    area_mean(picture[np.newaxis], moments[0], 2, squares=moments[1])
    exact = picture.astype(np.float64)
    for moment, of in zip(moments, (exact, exact**2), strict=True):
        np.testing.assert_allclose(moment, resize_local_mean(of, shape), atol=1e-6)


@pytest.mark.parametrize("n_rows", [1, 2, 7, 60])
def test_evening_out_interpolates_between_the_rows_of_mean_and_gain(n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    gray = rng.uniform(0, 1000, (60, 70)).astype(np.float32)
    mean, gain = (rng.uniform(*limits, (n_rows, 70)).astype(np.float32) for limits in ((80, 170), (0.1, 3)))
    large = [cv2.resize(rows, (70, 60), interpolation=cv2.INTER_LINEAR).astype(np.float64) for rows in (mean, gain)]
    expected = np.clip(128 + large[1] * (0.25 * gray - large[0]), 0, 255)
    found = np.empty(gray.shape, np.uint8)
    launch(normalise, 1, frozen(gray), np.float32(0.25), frozen(mean), frozen(gain), 1, found)
    assert {0, 255} <= set(found.flat)
    assert np.abs(found - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("sigma", [0.0, 2.0, 40.0, 500.0])
@pytest.mark.parametrize("full_scale", [255.0, 65535.0, None])
def test_evening_out_has_the_same_bits_for_any_number_of_threads(sigma: float, full_scale: float | None) -> None:
    gray = face().astype(np.float32) * (257 if full_scale == 65535 else 1)
    levels = None if full_scale is None else (0.0, full_scale)
    one, two, seven = (to_eight_bits(cv2, gray, sigma, levels, threads) for threads in (1, 2, 7))
    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(seven, one)
    darker = to_eight_bits(cv2, 0.8 * gray + np.float32(0.1 * gray.max()), sigma, levels, 1)
    if sigma > 0:  # what is left of a change of exposure is due to the least contrast
        assert np.abs(darker.astype(int) - one).mean() < 6
    else:
        assert np.abs(darker.astype(int) - one).mean() > 6 or full_scale is None


@pytest.mark.parametrize("width", [1, 2, 3, 7, 64, 101])
@pytest.mark.parametrize("threads", [1, 3])
def test_field_statistics_are_those_of_the_known_displacements(width: int, threads: int) -> None:
    field = np.random.default_rng(width).normal(0, 3, (130, width, 2)).astype(np.float32)
    field[3:40, : width // 2, 0] = np.nan
    field[50, -1, 1] = np.nan
    field[60, 0] = 3e30, -4e30  # no length of a motion, but a finite number that a file can hold
    lengths = np.linalg.norm(field.astype(np.float64), axis=2)
    known = lengths[~np.isnan(lengths)]
    statistics = field_statistics(field, threads)
    assert statistics["share_known"] == known.size / lengths.size
    assert statistics["mean_displacement"] == pytest.approx(known.mean(), rel=1e-12)
    assert statistics["largest_displacement"] == pytest.approx(known.max(), rel=1e-12)
    nothing = field_statistics(np.full((2, width, 2), np.nan, np.float32), threads)
    assert nothing == {"mean_displacement": 0.0, "largest_displacement": 0.0, "share_known": 0.0}


def test_unrelated_noise_has_no_translation() -> None:
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, face().shape).astype(np.uint8)
        with pytest.raises(WarpError, match="too little in common"):
            estimate(noise, method="translation", on_failure="fail")


@pytest.mark.parametrize("method", ECC)
def test_a_large_motion_is_found_without_evening_out(method: str) -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = 30, -20
    _, warp = estimate(codes(moved_by_matrix(face(), matrix)), method=method)
    assert corner_error(warp.matrix, matrix, face().shape) < 0.5


def test_frames_that_only_lead_to_others_do_not_fail_the_run() -> None:
    bad, good = np.zeros(face().shape, np.uint8), face()
    stage = open_warp(WarpSpec(method="affine", on_failure="fail"), face(), **EIGHT)
    for index, picture in enumerate((good, bad, bad)):
        stage.estimate(Frame(picture, index, 0.0, wanted=False))
    assert stage.estimate(Frame(good, 3, 0.0)).report["status"] == "estimated"


def test_small_pictures_and_small_regions_are_no_internal_error() -> None:
    small = face()[:12, :12]
    for method in ("translation", "affine", "flow"):
        with pytest.raises(SpecError, match=r"16 x 16 pixels or more, not of 12 x 12"):
            open_warp(WarpSpec(method=method), small, **EIGHT)
        region = np.zeros(face().shape, bool)
        region[-1, -1] = region[0, 0] = True
        for corner in (np.s_[:2, :2], np.s_[-2:, -2:]):
            region[:] = False
            region[corner] = True
            stage = open_warp(WarpSpec(method=method, region="mask"), face(), region=region, **EIGHT)
            stage.estimate(Frame(face(), 0, 0.0))
