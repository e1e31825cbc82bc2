"""The demo: known motion that is really known, and a job on it whose result can be predicted."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framencc.demo import DemoFiles, DemoReport, contact_sheet, run_demo
from framencc.demo.motion import Pose, displacement_at, origins, pixel_grid
from framencc.demo.take import N_FRAMES, NOISE_SIGMA, Take, mouth_opening, pose
from framencc.errors import SinkError, SpecError
from framencc.sources import VideoSource

MOUTH_OPEN, HAND_IN_FRONT, HEAD_TURNED = 21, 40, 60


@pytest.fixture(scope="module")
def take() -> Take:
    return Take()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> DemoReport:
    return run_demo(tmp_path_factory.mktemp("demo") / "not" / "there yet")


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    left = np.clip(np.floor(x).astype(int), 0, picture.shape[1] - 2)
    top = np.clip(np.floor(y).astype(int), 0, picture.shape[0] - 2)
    across, down = x - left, y - top
    upper = picture[top, left] * (1 - across) + picture[top, left + 1] * across
    lower = picture[top + 1, left] * (1 - across) + picture[top + 1, left + 1] * across
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("index", [MOUTH_OPEN, HAND_IN_FRONT, HEAD_TURNED])
def test_the_displacement_is_inverted_to_a_hundredth_of_a_pixel(index):
    x, y = origins(pose(index))
    dx, dy = displacement_at(pose(index), x.astype(np.float64), y.astype(np.float64))
    pixel_x, pixel_y = pixel_grid()
    assert np.abs(x + dx - pixel_x).max() < 0.01
    assert np.abs(y + dy - pixel_y).max() < 0.01


@pytest.mark.parametrize("index", [MOUTH_OPEN, HAND_IN_FRONT, HEAD_TURNED])
def test_the_known_displacement_brings_the_frame_back_onto_the_reference(take, index):
    offset = take.displacement(index)
    assert offset.shape == (512, 512, 2)
    assert offset.dtype == np.float32
    y, x = np.mgrid[:512, :512]
    moved = take.moved(index)
    error = bilinear(moved, x + offset[..., 0], y + offset[..., 1]) - take.reference
    untouched = moved - take.reference.astype(float)
    assert np.abs(error).mean() < 0.5  # rounding alone makes 0.25
    assert np.sqrt(np.square(error).mean()) < 1
    assert np.sqrt(np.square(untouched).mean()) > 10


@pytest.mark.parametrize("index", range(0, N_FRAMES, 7))
def test_no_sample_comes_from_outside_the_frame(take, index):
    offset = take.displacement(index)
    y, x = np.mgrid[:512, :512]
    for place in (x + offset[..., 0], y + offset[..., 1]):
        assert place.min() >= 0
        assert place.max() <= 511


def test_the_motion_is_a_few_pixels_and_smooth_in_time(take):
    fields = [take.displacement(index) for index in range(N_FRAMES)]
    assert not fields[0].any()
    assert 25 < max(np.abs(field).max() for field in fields) < 50
    assert max(np.abs(after - before).max() for before, after in itertools.pairwise(fields)) < 6


def test_a_motion_that_folds_the_picture_is_refused():
    with pytest.raises(ValueError, match="cannot be inverted"):
        origins(Pose(turn=0.0, nod=0.0, tilt=0.0, jaw=300.0))


def test_frames_are_the_same_whenever_they_are_made(take):
    later = Take()
    later.frame(3)
    for index in (0, HAND_IN_FRONT):
        assert take.frame(index).tobytes() == later.frame(index).tobytes()


def test_the_first_frame_is_the_reference_and_noise(take):
    difference = take.frame(0).astype(float) - take.reference
    assert difference.mean() == pytest.approx(0, abs=0.05)
    # The blacks and whites of the picture cut a little of it off.
    assert difference.std() == pytest.approx(NOISE_SIGMA, rel=0.05)


def test_the_areas_are_what_they_say(take):
    neutral, opened, hidden = (take.areas(index, margin=8) for index in (0, MOUTH_OPEN, HAND_IN_FRONT))
    assert neutral.face.sum() > 30_000
    assert not neutral.occluder.any()
    assert not neutral.mouth.any()
    assert opened.mouth.sum() > 1000
    assert hidden.occluder.sum() > 8000
    for areas in (neutral, opened, hidden):
        assert not (areas.face & (areas.occluder | areas.mouth)).any()
    assert mouth_opening(MOUTH_OPEN) == pytest.approx(1)
    # Dark where the mouth is open, lighter than that before.
    assert take.warped(MOUTH_OPEN, take.frame(MOUTH_OPEN))[opened.mouth].mean() < 60
    assert take.reference[opened.mouth].mean() > 120


def test_everything_is_made(report):
    for path in report.files:
        assert path.stat().st_size > 0, path
    directory = report.files.reference.parent
    assert report.files == DemoFiles.inside(directory)
    assert {path.name for path in directory.iterdir()} == {path.name for path in report.files}
    sidecar = json.loads(report.files.sidecar.read_text())
    assert sidecar["complete"]
    assert len(sidecar["frames"]) == report.n_frames == N_FRAMES == 75
    assert sidecar["spec"]["ncc"]["noise_sigma"] == 3


def test_the_videos_hold_the_frames(report, take):
    with VideoSource(str(report.files.dynamic)) as dynamic, VideoSource(str(report.files.warped)) as warped:
        pairs = list(zip(dynamic.frames(), warped.frames(), strict=True))
    assert len(pairs) == N_FRAMES
    assert [frame.pts_seconds for frame, _ in pairs] == pytest.approx([index / 25 for index in range(N_FRAMES)])
    for index in (0, HAND_IN_FRONT, HEAD_TURNED):
        frame = take.frame(index)
        np.testing.assert_array_equal(pairs[index][0].data, frame)
        # The flow finds what the known motion would have brought, where nothing hides the face.
        difference = pairs[index][1].data / 256 - take.warped(index, frame)
        face = take.areas(index, margin=8).face
        assert np.abs(difference[face]).mean() < 4
        assert np.abs((frame - np.float64(take.warped(index, frame)))[face]).mean() > (
            8 if index == HEAD_TURNED else -1
        )


def test_the_face_is_bright_and_the_hand_and_the_open_mouth_are_dark(report):
    # Measured: 0.95, 0.07 and 0.10.
    assert report.face_confidence > 0.9
    assert report.occluder_confidence < 0.2
    assert report.mouth_confidence < 0.25


def test_that_holds_for_every_frame_as_well(report, take):
    with VideoSource(str(report.files.confidence)) as source:
        maps = [frame.data for frame in source.frames()]
    assert len(maps) == N_FRAMES
    for index in (0, MOUTH_OPEN, HAND_IN_FRONT, HEAD_TURNED):
        areas = take.areas(index, margin=8)
        assert maps[index][areas.face].mean() > 0.85 * 255
        for area in (areas.occluder, areas.mouth):
            if area.any():
                assert maps[index][area].mean() < 0.4 * 255


def test_the_contact_sheet(report):
    with Image.open(report.files.contact_sheet) as sheet:
        assert 1200 <= sheet.width <= 1600
        assert sheet.mode == "L"
        pixels = np.asarray(sheet)
    assert report.files.contact_sheet.stat().st_size < 1_500_000
    # Four rows by four columns of pictures: the last column is nearly white, the others are not.
    left, right = pixels[:, : sheet.width // 2], pixels[:, sheet.width * 4 // 5 :]
    assert right.mean() > left.mean() + 40
    small = contact_sheet(report.files.reference.parent, width=400)
    assert small.width == 400


def test_earlier_files_are_kept_unless_they_may_be_replaced(report):
    directory = report.files.reference.parent
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    with pytest.raises(SpecError, match=r"reference\.png' exists"):
        run_demo(directory)
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_one_earlier_file_is_enough_to_refuse(tmp_path):
    (tmp_path / "contact_sheet.png").write_bytes(b"mine")
    with pytest.raises(SpecError, match=r"contact_sheet\.png' exists"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["contact_sheet.png"]


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    place = tmp_path / "file"
    place.write_bytes(b"mine")
    with pytest.raises(SpecError, match="is no folder"):
        run_demo(place)
    with pytest.raises((SpecError, SinkError)) as caught:
        run_demo(place / "below")
    assert "\n" not in str(caught.value)


def test_overwriting_replaces_every_file(monkeypatch, tmp_path):
    monkeypatch.setattr("framencc.demo.N_FRAMES", 2)
    monkeypatch.setattr("framencc.demo.SHOWN", {0: "neutral", 1: "after"})
    files = DemoFiles.inside(tmp_path)
    for path in files:
        path.write_bytes(b"old")
    (tmp_path / "other.txt").write_text("mine")
    report = run_demo(tmp_path, overwrite=True)
    assert report.n_frames == 2
    assert np.isnan(report.occluder_confidence)
    assert all(path.stat().st_size > 3 for path in files)
    assert (tmp_path / "other.txt").read_text() == "mine"


def test_importing_the_demo_loads_no_optional_package():
    code = "import sys, framencc.demo; print([m for m in ('cv2', 'av', 'dask', 'matplotlib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_picture_of_the_documentation_is_small():
    picture = Path(__file__).parent.parent / "docs" / "contact_sheet.png"
    assert picture.stat().st_size <= 500_000
    with Image.open(picture) as sheet:
        assert sheet.width == 900
