"""Whole runs with warps: repeatable from their own fields, the same in parts, failures recorded."""

import threading
from pathlib import Path

import media
import numpy as np
import pytest
import tolerances
from known_motion import codes, face, moved_by_matrix
from PIL import Image
from running import command, thinned
from sink_readback import decode_gray, names

from framencc import Reference, SinkError, SourceError, SpecError, WarpError, run
from framencc.config import make_spec
from framencc.fields import read_field, write_field
from framencc.frames import CodeRange, Frame
from framencc.sidecar import read_sidecar
from framencc.spec.warp import WarpSpec
from framencc.warps import WarpStage, open_warp

pytest.importorskip("cv2", reason="OpenCV is an optional extra")

FOOTAGE = media.footage()
SHAPE = (144, 176)
FIELDS = ["fields.npy", "fields/%03d.npy", "fields/%03d.flo", "fields/%03d.exr"]
RUN_THREADS = ("framencc-reader", "framencc-estimator", "framencc-completer", "framencc-writer", "ffmpeg")
FACES = {"radius": 5, "noise_sigma": 3, "flat": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(output: str, frames: str | None = "0:8", **options: object):
    return make_spec({"input": str(FOOTAGE), "output": output, "reference": 0, "frames": frames} | options)


def mean_of(report) -> float:
    return read_sidecar(report.sidecar)["summary"]["mean_confidence"]


def test_flow_raises_the_correlation_with_the_neutral_frame(folder) -> None:
    raw = mean_of(run(job("raw.npy", "60:80")))
    report = run(job("flow.npy", "60:80", warp={"method": "flow"}))
    assert mean_of(report) > raw + 0.1
    row = read_sidecar(report.sidecar)["frames"][3]["warp"]
    assert row["status"] == "estimated"
    assert row["mean_displacement"] > 0.5


@pytest.mark.parametrize(
    "fields", thinned(["fields.npy", "fields/%03d.npy", "fields/%03d.flo", "fields/%03d.exr"], "fields.npy")
)
@pytest.mark.parametrize("method", ["translation", "homography", "flow"])
def test_a_run_can_be_repeated_from_its_own_fields(folder, method, fields) -> None:
    run(job("first.mkv", None, warp={"method": method}, ncc=FACES, fields=fields, warped="first_warped.mkv"))
    given = {"method": "field", "field": fields}
    run(job("second.mkv", None, warp=given, ncc=FACES, warped="second_warped.mkv"))
    assert Path("first.mkv").read_bytes() == Path("second.mkv").read_bytes()
    assert Path("first_warped.mkv").read_bytes() == Path("second_warped.mkv").read_bytes()


@pytest.mark.parametrize("fields", ["fields.npy", "fields/%03d.flo"])
def test_a_part_of_a_clip_can_be_repeated_from_its_own_fields(folder, fields) -> None:
    run(job("first.npy", "10:40:3", warp={"method": "flow"}, fields=fields))
    given = {"method": "field", "field": fields}
    run(job("second.npy", "10:40:3", warp=given))
    first = np.load("first.npy")
    tolerances.assert_same_bits(np.load("second.npy"), first)
    if fields != "fields.npy":  # numbered files say whose they are
        run(job("third.npy", "13:20:3", warp=given))
        tolerances.assert_same_bits(np.load("third.npy"), first[1:4])
        with pytest.raises(SpecError, match=r"of the frames 10 to 37; frame 11 has none"):
            run(job("fourth.npy", "10:20", warp=given))


def test_warped_frames_are_those_that_were_correlated(folder) -> None:
    report = run(job("out.npy", warp={"method": "flow"}, warped="warped.mkv", validity="why.npy"))
    warped, _ = decode_gray(folder / "warped.mkv", "uint16", SHAPE)
    why = np.load("why.npy")
    assert report.others == {"validity": Path("why.npy"), "warped": Path("warped.mkv")}
    assert read_sidecar(report.sidecar)["warp_gain"] == 256
    reference = Reference(media.decode_luma(FOOTAGE, *SHAPE)[0])
    for rho, frame, codes_ in zip(np.load("out.npy"), warped, why, strict=True):
        # A mask that hides nothing would be another kernel, and another last digit.
        expected = reference.ncc(frame, mask=None if (codes_ == 0).all() else codes_ != 3)
        tolerances.assert_same_bits(rho, expected)


def test_a_reference_and_noise_are_in_the_code_values_of_warped_frames(folder) -> None:
    """A warp of nothing changes nothing, also under the noise model, but for float32's last digit."""
    np.save("fields.npy", np.zeros((8, *SHAPE, 2), np.float32))
    np.save("in.npy", media.decode_luma(FOOTAGE, *SHAPE)[:8])
    still = run(job("still.npy", None, input="in.npy", ncc=FACES))
    warped = run(job("warped.npy", None, input="in.npy", ncc=FACES, warp={"method": "field", "field": "fields.npy"}))
    tolerances.assert_twins_close(np.load(still.output), np.load(warped.output), tolerances.INTEGER)


@pytest.mark.parametrize("method", ["translation", "affine", "flow"])
def test_any_part_of_a_clip_gives_the_same_bits(folder, method) -> None:
    warp = {"method": method, "restart": 4}
    if method == "flow":
        warp["forward_backward"] = "weight"
    whole = np.load(run(job("whole.npy", "0:14", warp=warp)).output)
    for part in ("0:3", "3:9", "6:14:3", "13:14"):
        start, stop, step = (*map(int, part.split(":")), 1)[:3]
        report = run(job(f"{start}_{stop}.npy", part, warp=warp, threads=1 + start % 3))
        tolerances.assert_same_bits(np.load(report.output), whole[start:stop:step])
        rows = read_sidecar(report.sidecar)["frames"]
        assert [row["index"] for row in rows] == list(range(start, stop, step))


def test_warm_starts_do_matter_inside_a_chain(folder) -> None:
    # Otherwise the test above would prove nothing.
    warm = np.load(run(job("warm.npy", "0:14", warp={"method": "flow", "restart": 7})).output)
    cold = np.load(run(job("cold.npy", "0:14", warp={"method": "flow", "warm_start": False})).output)
    tolerances.assert_same_bits(warm[[0, 7]], cold[[0, 7]])
    assert (warm[1:7] != cold[1:7]).any(axis=(1, 2)).all()


def test_a_forward_backward_weight_multiplies_the_confidence(folder) -> None:
    scales = (1.5, 3.0)
    warp = {"method": "flow", "forward_backward": "weight", "warm_start": False}
    plain = np.load(run(job("plain.npy", warp={"method": "flow", "warm_start": False}, ncc=FACES)).output)
    weighed = []
    for scale in scales:
        report = run(job(f"{scale}.npy", warp=warp | {"forward_backward_scale": scale}, ncc=FACES))
        weighed.append(np.load(report.output).astype(np.float64))
    frames = media.decode_luma(FOOTAGE, *SHAPE)
    codes = CodeRange.of_bits(8, limited=True)
    stage = open_warp(WarpSpec(**warp), frames[0], code_range=codes, reference_range=codes)
    for index in range(8):
        distance = stage.estimate(Frame(frames[index], index, 0.0)).forward_backward
        for scale, maps in zip(scales, weighed, strict=True):
            expected = np.maximum(plain[index], 0) * np.exp(-distance.astype(np.float64) / scale)
            np.testing.assert_allclose(maps[index], expected, atol=1e-6)


def test_failures_are_recorded_and_counted(folder) -> None:
    clip = np.stack([face()[::2, ::2]] * 5)
    clip[2] = 90
    np.save("in.npy", clip)
    spec = {"input": "in.npy", "output": "out.npy", "reference": 0}
    report = run(make_spec(spec | {"warp": {"method": "affine"}}))
    sidecar = read_sidecar(report.sidecar)
    assert [row["warp"]["status"] for row in sidecar["frames"]] == [
        "estimated", "estimated", "invalid", "estimated", "estimated",
    ]  # fmt: skip
    assert sidecar["frames"][2]["warp"]["problem"] == "the frame has no texture"
    assert sidecar["summary"]["failed_warps"] == report.n_failed_warps == 1
    with pytest.raises(WarpError, match=r"^frame 2: the frame has no texture; warp\.on_failure"):
        run(make_spec(spec | {"output": "strict.npy", "warp": {"method": "affine", "on_failure": "fail"}}))
    assert sorted(names(folder)) == ["in.npy", "out.npy", "out.npy.json"]
    result = command("run", "in.npy", "cli.npy", "--reference", 0, "--warp", "affine", cwd=folder)
    assert result.returncode == 0
    assert "no warp was found for 1 of 5 frames" in result.stderr


@pytest.mark.parametrize("step", ["begin", "_complete", "apply"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_stops_a_warp_stops_the_run_and_leaves_nothing(folder, monkeypatch, step: str, error: type) -> None:
    original = getattr(WarpStage, step)

    def fail_at_frame_3(stage: WarpStage, frame: Frame, *more: object) -> object:
        if frame.index == 3:
            raise error("stopped here")
        return original(stage, frame, *more)

    monkeypatch.setattr(WarpStage, step, fail_at_frame_3)
    with pytest.raises(error, match="stopped here"):
        run(job("out.mkv", None, warp={"method": "flow"}))
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(RUN_THREADS)]
    assert names(folder) == []


def test_the_time_that_warps_took_is_told(folder) -> None:
    warped = read_sidecar(run(job("warped.npy", warp={"method": "flow"})).sidecar)["timings"]
    plain = read_sidecar(run(job("plain.npy")).sidecar)["timings"]
    assert 0 < warped["warp_seconds"] < warped["seconds"]
    assert plain["warp_seconds"] == 0


def test_masks_of_frames_are_warped_with_them(folder) -> None:
    matrix = np.array([[1, 0, 6.0], [0, 1, -4.0], [0, 0, 1]])
    frame = codes(moved_by_matrix(face(), matrix))
    mask = np.ones(face().shape, np.uint8)
    mask[200:260, 220:300] = 0
    np.save("in.npy", np.stack([face(), frame]))
    np.save("masks.npy", np.stack([np.ones_like(mask), mask]))
    spec = {"input": "in.npy", "output": "out.npy", "reference": 0, "validity": "why.npy"}
    run(make_spec(spec | {"warp": {"method": "translation"}, "ncc": {"mask": "masks.npy"}}))
    masked = np.load("why.npy")[1] == 4
    expected = np.zeros_like(masked)
    expected[204:264, 214:294] = True  # frame (x + 6, y - 4) shows reference (x, y)
    np.testing.assert_array_equal(masked, expected)


def test_colour_frames_are_warped_together(folder) -> None:
    rgb = np.stack([face(), 255 - face(), face() // 2], axis=-1)
    matrix = np.array([[1, 0, 3.0], [0, 1, 2.0], [0, 0, 1]])
    moved = np.stack([codes(moved_by_matrix(rgb[..., channel], matrix)) for channel in range(3)], axis=-1)
    np.save("in.npy", np.stack([rgb, moved]))
    spec = {"input": "in.npy", "output": "out.npy", "reference": 0, "validity": "why.npy"}
    run(make_spec(spec | {"warp": {"method": "translation"}, "ncc": {"channel": "joint"}}))
    assert np.load("out.npy")[1][np.load("why.npy")[1] == 0].min() > 0.999


def field_files(n: int, shape: tuple[int, ...] = SHAPE, skip: int = -1) -> str:
    Path("fields").mkdir(exist_ok=True)
    for index in range(n):
        if index != skip:
            write_field(f"fields/{index:03d}.flo", np.zeros((*shape, 2), np.float32))
    return "fields/%03d.flo"


@pytest.mark.parametrize(
    ("make", "kind", "problem"),
    [
        (lambda: field_files(119), SpecError, "are 119, the input's frames 120; each frame needs its own"),
        (lambda: field_files(121), SpecError, "are 121, the input's frames 120; each frame needs its own"),
        (lambda: field_files(120, skip=50), SpecError, "lack number 50"),
        (lambda: field_files(120, shape=(20, 30)), SourceError, "30 x 20"),
        (lambda: "absent/%03d.flo", SpecError, "matches no file"),
    ],
)
def test_wrong_fields_are_refused_by_name(folder, make, kind, problem) -> None:
    with pytest.raises(kind) as caught:
        run(job("out.npy", None, warp={"method": "field", "field": make()}))
    assert problem in str(caught.value)
    assert not Path("out.npy").exists()


def test_too_few_fields_are_refused_where_only_reading_tells(folder) -> None:
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "in.mkv")
    warp = {"method": "field", "field": field_files(119)}
    with pytest.raises(SourceError, match="are 119, of the frames 0 to 118: there is none for frame 119") as caught:
        run(job("out.npy", None, input="in.mkv", segment_frames=50, warp=warp))
    assert caught.value.__notes__ == ["100 maps are kept; --resume goes on from there"]
    assert not Path("out.npy").exists()


def test_too_many_fields_are_a_warning_where_only_reading_tells(folder) -> None:
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "in.mkv")
    report = run(job("out.npy", None, input="in.mkv", warp={"method": "field", "field": field_files(121)}))
    assert report.n_frames == 120
    (warning,) = [line for line in report.warnings if "not square" not in line]  # as the pixels of the clip are
    assert "'fields/%03d.flo' has 121 fields, the input only 120 frames" in warning
    assert warning in read_sidecar("out.npy.json")["warnings"]


def test_a_broken_field_in_the_middle_names_file_and_frame(folder) -> None:
    path = field_files(120)
    content = Path("fields/007.flo").read_bytes()
    Path("fields/007.flo").write_bytes(content[: len(content) // 2])
    with pytest.raises((SourceError, SinkError)) as caught:
        run(job("out.npy", None, warp={"method": "field", "field": path}))
    assert "007.flo" in str(caught.value)
    assert "frame 7" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"warp": {"preset": "fast", "method": "translation", "window": "hann", "epsilon": 0.5}}, "warp.epsilon = 0.5"),
        ({"warp": {"method": "none", "interpolation": "cubic"}}, "warp.interpolation = cubic cannot apply"),
        ({"warp": {"method": "field"}}, "warp.field is missing"),
        ({"warped": "w.mkv"}, "warped cannot apply to warp.method = none"),
        ({"fields": "f.npy"}, "fields cannot apply to warp.method = none"),
        ({"warp": {"method": "flow"}, "fields": "f.flo"}, "fields 'f.flo' must be dir/%06d"),
        ({"warp": {"method": "flow"}, "fields": "f/%d.png"}, "fields 'f/%d.png' must be dir/%06d"),
        ({"warp": {"method": "flow"}, "warped": "w.mkv", "ncc": {"channel": "joint"}}, "ncc.channel = joint"),
        ({"warp": {"method": "flow"}, "warped": "out.npy"}, "warped 'out.npy' is the output itself"),
    ],
)
def test_what_cannot_apply_is_refused_by_name(folder, options, problem) -> None:
    with pytest.raises(SpecError) as caught:
        run(job("out.npy", **options))
    assert problem in str(caught.value)
    assert names(folder) == []


def test_the_fields_of_matrices_are_the_matrix(folder) -> None:
    report = run(job("out.npy", "5:6", warp={"method": "affine"}, fields="f/%d.npy"))
    matrix = np.array(read_sidecar(report.sidecar)["frames"][0]["warp"]["matrix"])
    y, x = np.indices(SHAPE, np.float64)
    field = read_field("f/5.npy", SHAPE)
    np.testing.assert_allclose(field[..., 0], matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] - x, atol=1e-4)
    np.testing.assert_allclose(field[..., 1], matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] - y, atol=1e-4)


def test_an_estimate_may_look_at_a_mask_alone(folder) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:100, 40:130] = 1
    Image.fromarray(labels).save("mask.png")
    for method in ("translation", "affine", "flow"):
        warp = {"method": method, "region": "mask"}
        report = run(job(f"{method}.npy", warp=warp, ncc={"mask": "mask.png"}, fields=f"{method}_fields.npy"))
        run(job(f"{method}_all.npy", warp={"method": method}, ncc={"mask": "mask.png"}, fields=f"{method}_all_f.npy"))
        assert report.mean_confidence > 0.3
        near, everywhere = np.load(f"{method}_fields.npy"), np.load(f"{method}_all_f.npy")
        assert not np.array_equal(near, everywhere, equal_nan=True)
        assert np.isnan(near[:, -1, -1]).all() == (method == "flow")
