"""Whole runs: what is in the output and its sidecar is what the definition says, frame for frame."""

import json
import math
from fractions import Fraction
from itertools import pairwise

import imageio_ffmpeg
import media
import numpy as np
import oracle
import pytest
import tolerances
from PIL import Image
from running import WindowedNcc, thinned
from sink_readback import Kind, decode, names, read_back

import framencc
from framencc.config import load_config, make_spec
from framencc.errors import SpecError
from framencc.pipeline import describe, run
from framencc.pipeline.publishing import Move
from framencc.sidecar import fingerprint, read_sidecar
from framencc.sources import open_source
from framencc.staging import sidecar_path

FOOTAGE = media.footage()
SHAPE = (144, 176)
N_FRAMES = 120


def run_job(output, *, given=FOOTAGE, reference=0, **options):
    return run(make_spec({"input": str(given), "output": str(output), "reference": reference, **options}))


@pytest.fixture(scope="module")
def frames():
    return media.decode_luma(FOOTAGE, *SHAPE)


@pytest.fixture(scope="module")
def times():
    return decode(FOOTAGE, "gray")[1]


@pytest.fixture(scope="module")
def exact(frames):
    ncc = WindowedNcc(frames[0])
    return [ncc.measure(frame) for frame in frames]


@pytest.fixture(scope="module")
def expected(exact):
    return np.stack([rho for rho, _ in exact])


@pytest.fixture(scope="module")
def array_report(tmp_path_factory):
    return run_job(tmp_path_factory.mktemp("array") / "out.npy")


@pytest.fixture(scope="module")
def maps(array_report):
    return np.load(array_report.output)


@pytest.mark.parametrize("options", [{}, {"flat": 0.5, "noise_sigma": 3.0}, {"radius": 9}])
def test_the_quick_correlation_is_the_oracle(frames, options):
    flat_corner = frames[60].copy()
    flat_corner[:20, :20] = 77
    rng = np.random.default_rng(1)
    edges = [(0, 0), (0, 175), (143, 0), (143, 175), (0, 80), (2, 3), (70, 174), (5, 5), (12, 12)]
    points = edges + [(int(y), int(x)) for y, x in zip(rng.integers(0, 144, 40), rng.integers(0, 176, 40), strict=True)]
    values, _ = oracle.oracle_at(frames[0], flat_corner, points, **options)
    quick = WindowedNcc(frames[0], **options)(flat_corner)
    np.testing.assert_allclose([quick[point] for point in points], values, rtol=0, atol=1e-12)


def test_every_map_of_real_footage_is_as_near_the_oracle_as_promised(maps, expected):
    assert maps.shape == (N_FRAMES, *SHAPE)
    tolerances.assert_maps_close(maps, expected, tolerances.INTEGER)


@pytest.mark.parametrize("output", thinned(["out.mkv", "out/%06d.png"], "out/%06d.png"))
@pytest.mark.parametrize("encoding", ["clip", "signed"])
@pytest.mark.parametrize("bits", [8, 16])
def test_codes_are_the_nearest_to_the_oracle(expected, tmp_path, output, encoding, bits):
    options = {"encoding": encoding, "bits": bits}
    report = run_job(tmp_path / output, output_format=options)
    kind = Kind(output, f"uint{bits}", options)
    codes = read_back(kind, tmp_path / output, range(N_FRAMES), SHAPE)
    assert codes.shape == (N_FRAMES, *SHAPE)
    largest = 2**bits - 1
    exact = largest * (np.maximum(expected, 0) if encoding == "clip" else (expected + 1) / 2)
    assert np.abs(codes - exact).max() <= 0.5 + largest * tolerances.INTEGER
    assert report.n_frames == N_FRAMES
    codec = {"codec": "ffv1"} if output == "out.mkv" else {}
    described = read_sidecar(report.sidecar)["encoding"]
    assert described == {"encoding": encoding, "bits": bits, "maximum": largest} | codec


def test_a_numbered_output_is_one_picture_a_frame_and_nothing_else(tmp_path):
    run_job(tmp_path / "maps/%03d.png", frames="7:10")
    assert names(tmp_path) == ["maps", "maps/%03d.png.json", "maps/007.png", "maps/008.png", "maps/009.png"]


def test_a_name_that_only_begins_like_a_number_is_one_array(tmp_path):
    report = run_job(tmp_path / "done_100%done.npy", frames="0:3")
    assert names(tmp_path) == ["done_100%done.npy", "done_100%done.npy.json"]
    assert np.load(report.output).shape == (3, *SHAPE)


def test_the_sidecar_holds_the_inputs_own_times(array_report, times):
    rows = read_sidecar(array_report.sidecar)["frames"]
    assert [row["index"] for row in rows] == list(range(N_FRAMES))
    assert [row["pts_seconds"] for row in rows] == [float(time) for time in times]


@pytest.mark.parametrize(
    ("output", "tolerance"), [("out.mp4", 0), ("out.mov", 0), ("out.mkv", Fraction(1, 2000))], ids=str
)
def test_a_video_has_a_map_for_each_frame_at_its_time(tmp_path, times, output, tolerance):
    run_job(tmp_path / output)
    stamps = decode(tmp_path / output, "gray")[1]
    assert len(stamps) == N_FRAMES
    assert max(abs(stamp - time) for stamp, time in zip(stamps, times, strict=True)) <= tolerance


def test_uneven_times_arrive_in_the_sidecar_and_the_video(tmp_path):
    clip = tmp_path / "uneven.mp4"
    media.ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-vf", r"select='not(eq(mod(n\,7)\,3))'"),
        *("-frames:v", 20, "-fps_mode", "passthrough", clip),
    )
    times = decode(clip, "gray")[1]
    assert len({after - before for before, after in pairwise(times)}) == 2
    report = run_job(tmp_path / "out.mp4", given=clip)
    assert [row["pts_seconds"] for row in read_sidecar(report.sidecar)["frames"]] == [float(time) for time in times]
    assert decode(report.output, "gray")[1] == times


@pytest.mark.parametrize("selection", ["0:1", "10:20", "100:", "::50", "5:500:33"])
def test_a_selection_gives_the_same_maps_under_their_own_numbers(maps, times, tmp_path, selection):
    wanted = list(range(N_FRAMES))[slice(*(int(part) if part else None for part in selection.split(":")))]
    report = run_job(tmp_path / "out.npy", frames=selection)
    assert report.n_frames == len(wanted)
    tolerances.assert_same_bits(np.load(report.output), maps[wanted])
    rows = read_sidecar(report.sidecar)["frames"]
    assert [(row["index"], row["pts_seconds"]) for row in rows] == [(i, float(times[i])) for i in wanted]


@pytest.mark.parametrize("given", ["pictures", "pictures/*.png", "pictures/f_%04d.png", "frames.npy"])
def test_pictures_and_arrays_give_the_maps_of_the_video(frames, maps, tmp_path, given):
    chosen = frames[:12]
    if given == "frames.npy":
        np.save(tmp_path / given, chosen)
    else:
        (tmp_path / "pictures").mkdir()
        for index, frame in enumerate(chosen):
            Image.fromarray(frame).save(tmp_path / f"pictures/f_{index:04d}.png")
    report = run_job(tmp_path / "out.npy", given=tmp_path / given, frame_rate="30000/1001")
    tolerances.assert_same_bits(np.load(report.output), maps[:12])
    sidecar = read_sidecar(report.sidecar)
    assert [row["pts_seconds"] for row in sidecar["frames"]] == [float(i * Fraction(1001, 30000)) for i in range(12)]
    files = sorted((tmp_path / "pictures").glob("*")) if given != "frames.npy" else None
    assert sidecar["input"] == fingerprint(tmp_path / given, files)
    assert [row.get("file") for row in sidecar["frames"]] == ([file.name for file in files] if files else [None] * 12)


@pytest.mark.parametrize("index", [0, 57])
def test_a_picture_of_a_frame_is_as_good_a_reference_as_its_number(frames, tmp_path, index):
    Image.fromarray(frames[index]).save(tmp_path / "neutral.png")
    by_picture = run_job(tmp_path / "picture.npy", reference=str(tmp_path / "neutral.png"), frames="50:60")
    by_number = run_job(tmp_path / "number.npy", reference=index, frames="50:60")
    tolerances.assert_same_bits(np.load(by_picture.output), np.load(by_number.output))
    picture, number = (read_sidecar(report.sidecar)["reference"] for report in (by_picture, by_number))
    codes = {"bits": 8, "black": 0, "white": 255, "bits_from": "stored", "range": "full", "range_from": "stored"}
    assert picture == {"kind": "picture", "conversion": None, **codes, **fingerprint(tmp_path / "neutral.png")}
    assert number["kind"] == "frame"
    assert number["index"] == index


def test_16_bit_video_is_as_near_the_oracle_as_promised(tmp_path):
    rng = np.random.default_rng(5)
    # Bright and nearly flat: where float32 sums would fail altogether.
    video = (65000 + rng.normal(0, 3, (4, 40, 60))).round().astype(np.uint16)
    clip = media.write_clip(tmp_path / "in.mkv", video, pixel_format="gray16le")
    report = run_job(tmp_path / "out.npy", given=clip, ncc={"radius": 5})
    ncc = WindowedNcc(video[0], 5)
    exact = np.stack([ncc(frame) for frame in video])
    tolerances.assert_maps_close(np.load(report.output), exact, tolerances.INTEGER)
    assert read_sidecar(report.sidecar)["stream"]["bits"] == 16


@pytest.fixture
def ten_bit_clip(tmp_path):
    video = media.random_frames(3, bits=10, seed=4) // 8 + 300
    return media.write_clip(tmp_path / "in.mkv", video, pixel_format="gray10le"), video


@pytest.mark.parametrize(("noise_sigma", "flat"), [(12.0, 0.0), (12.0, 1.0)])
def test_the_noise_model_means_the_same_in_a_reference_of_fewer_bits(ten_bit_clip, tmp_path, noise_sigma, flat):
    clip, video = ten_bit_clip
    reference = media.random_frames(1, seed=9)[0] // 4 + 80
    Image.fromarray(reference).save(tmp_path / "neutral.png")
    report = run_job(
        tmp_path / "out.npy",
        given=clip,
        reference=str(tmp_path / "neutral.png"),
        ncc={"noise_sigma": noise_sigma, "flat": flat},
    )
    ncc = WindowedNcc(reference * (1023 / 255), noise_sigma=noise_sigma, flat=flat)
    exact = np.stack([ncc(frame) for frame in video])
    tolerances.assert_maps_close(np.load(report.output), exact, tolerances.INTEGER)


def test_without_a_noise_model_the_reference_is_taken_as_it_is(ten_bit_clip, tmp_path):
    clip, video = ten_bit_clip
    reference = media.random_frames(1, seed=9)[0]
    Image.fromarray(reference).save(tmp_path / "neutral.png")
    report = run_job(tmp_path / "out.npy", given=clip, reference=str(tmp_path / "neutral.png"))
    exact = np.stack([WindowedNcc(reference)(frame) for frame in video])
    tolerances.assert_maps_close(np.load(report.output), exact, tolerances.INTEGER)


def test_a_float_reference_serves_integer_video_but_not_with_a_noise_model(frames, tmp_path):
    reference = str(tmp_path / "neutral.npy")
    np.save(reference, (frames[0] / 255).astype(np.float32))
    report = run_job(tmp_path / "out.npy", reference=reference, frames="0:3")
    exact = np.stack([WindowedNcc(frames[0])(frame) for frame in frames[:3]])
    tolerances.assert_maps_close(np.load(report.output), exact, tolerances.FLOAT)
    with pytest.raises(SpecError, match=r"^ncc\.noise_sigma .* 8-bit samples, .* floating-point samples"):
        run_job(tmp_path / "noisy.npy", reference=reference, frames="0:3", ncc={"noise_sigma": 1})
    assert names(tmp_path) == ["neutral.npy", "out.npy", "out.npy.json"]


@pytest.mark.parametrize("output", ["out.npy", "out.mkv", "out.mp4"])
def test_threads_and_repetition_do_not_change_a_byte(tmp_path, output):
    contents = set()
    for threads in (1, 2, 2):
        report = run_job(tmp_path / output, frames="0:30", threads=threads, overwrite=True)
        contents.add(report.output.read_bytes())
    assert len(contents) == 1


def test_the_sidecar_describes_the_run(array_report):
    spec = make_spec({"input": str(FOOTAGE), "output": str(array_report.output), "reference": 0})
    assert array_report.sidecar == sidecar_path(array_report.output)
    sidecar = read_sidecar(array_report.sidecar)
    assert framencc.RunSpec.model_validate(sidecar["spec"]) == spec
    assert sidecar["framencc"] == framencc.__version__
    assert sidecar["encoding"] == {"encoding": "float"}
    assert sidecar["input"] == fingerprint(FOOTAGE)
    number = {"kind": "frame", "path": str(FOOTAGE), "index": 0, "pts_seconds": 0.0}
    assert sidecar["reference"].items() >= {**number, "conversion": None, "bits": 8, "range": "limited"}.items()
    assert sidecar["mask"] is None
    stream = sidecar["stream"]
    assert (stream["height"], stream["width"], stream["dtype"], stream["bits"]) == (*SHAPE, "uint8", 8)
    assert (stream["frame_rate"], stream["time_base"]) == ("30000/1001", "1/30000")
    assert sidecar["versions"]["numpy"] == np.__version__
    assert sidecar["versions"]["imageio-ffmpeg"] == imageio_ffmpeg.__version__
    assert set(sidecar["versions"]) >= {"python", "platform", "numba", "pydantic"}
    assert 0 < sidecar["timings"]["compute_seconds"] < sidecar["timings"]["seconds"]
    assert sidecar["timings"]["seconds"] == array_report.seconds
    summary = sidecar["summary"]
    assert (summary["n_frames"], summary["mean_confidence"]) == (N_FRAMES, array_report.mean_confidence)
    assert np.mean([row["code_shares"] for row in sidecar["frames"]], axis=0) == pytest.approx(summary["code_shares"])
    assert sidecar["validity_codes"][0] == "measured"
    assert sidecar["complete"] is True
    assert sidecar["error"] is None


@pytest.mark.parametrize(
    ("output", "asked", "codec"), [("out.mkv", "h264", "h264"), ("out.mov", None, "h264"), ("out.mkv", None, "ffv1")]
)
def test_the_sidecar_says_which_codec_a_video_has(tmp_path, output, asked, codec):
    report = run_job(tmp_path / output, frames="0:2", output_format={"codec": asked})
    assert read_sidecar(report.sidecar)["encoding"]["codec"] == codec
    with open_source(make_spec({"input": str(report.output), "output": "x.npy", "reference": 0})) as source:
        assert source.info.details["codec"] == codec


def test_the_mean_confidence_is_that_of_the_measured_pixels(array_report, maps, exact):
    rows = read_sidecar(array_report.sidecar)["frames"]
    measured = [where for _, where in exact]
    assert [row["valid_share"] for row in rows] == [where.mean() for where in measured]
    means = [rho[where].mean(dtype=np.float64) for rho, where in zip(maps, measured, strict=True)]
    np.testing.assert_allclose([row["mean_confidence"] for row in rows], means, rtol=0, atol=1e-6)
    assert array_report.mean_confidence == pytest.approx(np.mean(means), abs=1e-6)


def test_the_mean_confidence_leaves_out_what_was_not_measured(tmp_path):
    video = media.random_frames(3)
    video[1, :20] = 90
    np.save(tmp_path / "in.npy", video)
    report = run_job(tmp_path / "out.npy", given=tmp_path / "in.npy", ncc={"flat": -1})
    measured = oracle.oracle(video[0], video[1])[1] == oracle.VALID
    row = read_sidecar(report.sidecar)["frames"][1]
    assert 0 < row["valid_share"] == measured.mean() < 1
    assert row["mean_confidence"] == pytest.approx(float(np.load(report.output)[1][measured].mean()), abs=1e-6)


def test_where_nothing_was_measured_there_is_no_mean(tmp_path):
    np.save(tmp_path / "in.npy", np.full((2, 20, 30), 7, np.uint8))
    report = run_job(tmp_path / "out.npy", given=tmp_path / "in.npy", ncc={"flat": math.nan})
    assert report.mean_confidence is None
    sidecar = read_sidecar(report.sidecar)
    assert [(row["mean_confidence"], row["valid_share"]) for row in sidecar["frames"]] == [(None, 0.0)] * 2
    assert np.isnan(np.load(report.output)).all()


def test_a_spec_with_nan_comes_back_from_the_sidecar(tmp_path):
    np.save(tmp_path / "in.npy", media.random_frames(1))
    given = {"input": str(tmp_path / "in.npy"), "output": str(tmp_path / "out.npy"), "reference": 0}
    spec = make_spec({**given, "frames": "0:9", "ncc": {"flat": math.nan, "fill": math.nan, "border": "valid"}})
    back = make_spec(read_sidecar(run(spec).sidecar)["spec"])
    assert math.isnan(back.ncc.flat)
    assert math.isnan(back.ncc.fill)
    assert back.model_dump_json() == spec.model_dump_json()


def test_a_sidecar_is_json_by_the_standard(array_report):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(array_report.sidecar.read_text(), parse_constant=refuse)["format_version"] == 1


def test_overwriting_replaces_the_output_and_its_sidecar(tmp_path):
    run_job(tmp_path / "out.npy", frames="0:5")
    run_job(tmp_path / "out.npy", frames="0:2", overwrite=True)
    assert np.load(tmp_path / "out.npy").shape[0] == 2
    assert read_sidecar(tmp_path / "out.npy.json")["summary"]["n_frames"] == 2
    assert names(tmp_path) == ["out.npy", "out.npy.json"]


def test_an_old_sidecar_never_stands_beside_new_maps(tmp_path, monkeypatch):
    run_job(tmp_path / "out.npy", frames="0:5")
    carry_out, seen = Move.carry_out, []

    def carry_out_and_look(move):
        carry_out(move)
        seen.append(names(tmp_path))

    monkeypatch.setattr(Move, "carry_out", carry_out_and_look)
    run_job(tmp_path / "out.npy", frames="0:2", overwrite=True)
    assert ["out.npy" in found for found in seen] == [True, True]
    assert ["out.npy.json" in found for found in seen] == [False, True]


def test_describing_a_job_agrees_with_its_sidecar_and_writes_nothing(array_report, tmp_path):
    described = describe(make_spec({"input": str(FOOTAGE), "output": str(tmp_path / "new/out.npy"), "reference": 0}))
    sidecar = read_sidecar(array_report.sidecar)
    for part in ("stream", "reference", "encoding"):
        assert described[part] == sidecar[part]
    assert described["spec"] == sidecar["spec"] | {"output": str(tmp_path / "new/out.npy")}
    assert names(tmp_path) == []


def test_a_description_says_where_outputs_really_go(tmp_path):
    (tmp_path / "job" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "job" / "link").symlink_to("../elsewhere")
    (tmp_path / "job" / "job.toml").write_text(
        f"input = '{FOOTAGE}'\noutput = 'deep/../../out/%06d.png'\nvalidity = 'link/why.mkv'\nreference = 0\n"
    )
    described = describe(load_config(tmp_path / "job" / "job.toml"))
    assert described["output"] == str(tmp_path / "out/%06d.png")
    assert described["sidecar"] == str(tmp_path / "out/%06d.png.json")
    assert described["validity"] == str(tmp_path / "elsewhere/why.mkv")
    assert names(tmp_path / "elsewhere") == []
