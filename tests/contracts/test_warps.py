"""What every warp method promises, whichever it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from known_motion import codes, face, moved_by_matrix

from framencc.frames import CodeRange, Frame
from framencc.spec.warp import WarpSpec
from framencc.warps import Warp, WarpStage, open_warp

pytest.importorskip("cv2", reason="OpenCV is an optional extra")

METHODS = ("translation", "euclidean", "affine", "homography", "flow", "flow with check", "field")
SIZE = 160
MATRICES = [np.array([[1, 0, 1.5 * index], [0, 1, -1.0 * index], [0, 0, 1]]) for index in range(4)]


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return np.ascontiguousarray(face()[40 : 40 + SIZE, 150 : 150 + SIZE])


@pytest.fixture(scope="module")
def frames(reference: np.ndarray) -> list[np.ndarray]:
    pictures = [codes(moved_by_matrix(reference, matrix)) for matrix in MATRICES]
    for picture in pictures:
        picture.flags.writeable = False
    return pictures


@pytest.fixture(params=METHODS)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> WarpSpec:
    if request.param == "field":
        fields = np.zeros((len(MATRICES), SIZE, SIZE, 2), np.float32)
        fields[:] = [[[matrix[:2, 2]]] for matrix in MATRICES]
        np.save(tmp_path / "fields.npy", fields)
        return WarpSpec(method="field", field=str(tmp_path / "fields.npy"))
    method, _, check = request.param.partition(" with ")
    return WarpSpec(method=method, forward_backward="check") if check else WarpSpec(method=method)


def opened(spec: WarpSpec, reference: np.ndarray) -> WarpStage:
    stage = open_warp(
        spec, reference, code_range=CodeRange.of_bits(8), reference_range=CodeRange.of_bits(8), n_frames=len(MATRICES)
    )
    assert stage is not None
    return stage


def same(one: Warp, other: Warp) -> bool:
    fields = [(warp.field((SIZE, SIZE)), warp.forward_backward) for warp in (one, other)]
    return all(
        np.array_equal(a, b, equal_nan=True) if a is not None else b is None for a, b in zip(*fields, strict=True)
    )


def test_the_motion_is_found_and_described(spec: WarpSpec, reference: np.ndarray, frames: list[np.ndarray]) -> None:
    stage = opened(spec, reference)
    for index, (frame, matrix) in enumerate(zip(frames, MATRICES, strict=True)):
        before = frame.tobytes()
        warp = stage.estimate(Frame(frame, index, 0.0))
        field = warp.field(reference.shape)
        assert field.dtype == np.float32
        assert field.shape == (SIZE, SIZE, 2)
        assert np.median(np.linalg.norm(field - matrix[:2, 2], axis=-1)) < 0.3
        assert json.loads(json.dumps(warp.report, allow_nan=False))["status"] == "estimated"
        assert frame.tobytes() == before
        warped = stage.apply(Frame(frame, index, 0.0), warp)
        assert warped.planes.shape == (1, SIZE, SIZE)
        inside = np.s_[24:-24, 24:-24]
        assert np.abs(warped.planes[0][inside] / stage.gain - reference[inside]).mean() < 6


def test_the_same_frames_give_the_same_warps(spec: WarpSpec, reference: np.ndarray, frames: list[np.ndarray]) -> None:
    first, second = opened(spec, reference), opened(spec, reference)
    for index, frame in enumerate(frames):
        assert same(first.estimate(Frame(frame, index, 0.0)), second.estimate(Frame(frame, index, 0.0)))


def test_a_chain_remembers_nothing_of_the_one_before(spec: WarpSpec, reference, frames) -> None:
    chained = spec if spec.method == "field" else spec.model_copy(update={"restart": 2})
    stage, alone = opened(chained, reference), opened(chained, reference)
    for index in range(2):
        stage.estimate(Frame(frames[index], index, 0.0))
    assert same(stage.estimate(Frame(frames[2], 2, 0.0)), alone.estimate(Frame(frames[2], 2, 0.0)))


def test_three_channels_are_warped_by_one_warp(spec: WarpSpec, reference: np.ndarray, frames: list[np.ndarray]) -> None:
    stage = opened(spec, np.stack([reference] * 3))
    frame = Frame(np.stack([frames[1]] * 3), 1, 0.0)
    warped = stage.apply(frame, stage.estimate(frame))
    assert warped.planes.shape == (3, SIZE, SIZE)
    np.testing.assert_array_equal(warped.planes[0], warped.planes[2])


def test_what_a_mask_hides_is_hidden_where_it_is_sampled(spec: WarpSpec, reference, frames) -> None:
    use = np.ones((SIZE, SIZE), bool)
    use[70:90, 60:80] = False
    stage = opened(spec, reference)
    frame = Frame(frames[0], 0, 0.0, use)
    warped = stage.apply(frame, stage.estimate(frame))
    assert warped.codes is not None
    assert (warped.codes[72:88, 62:78] == 4).all()
    assert not (warped.codes[100:, 100:-4] == 4).any()
