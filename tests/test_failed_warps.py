"""Frames for which no warp is found: nothing of them looks like a measurement, in whatever a run leaves."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from cut_off_runs import cut_off
from known_motion import codes, face, moved_by_matrix
from PIL import Image
from report_runs import seen

from framencc import DamagedInputError, SourceError, SpecError, WarpError, run
from framencc.cli import main
from framencc.config import make_spec
from framencc.fields import read_field, write_field
from framencc.report import write_report
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.report.stretches import find_stretches
from framencc.sidecar import read_sidecar
from framencc.spec.warp import WarpSpec
from framencc.verification import verify

pytest.importorskip("cv2", reason="OpenCV is an optional extra")
pytestmark = pytest.mark.timeout(120)

SIZE, N = 128, 10
BAD, RESTART = (0, 2, 3, 4, 9), 4  # the first of two chains, two in a row, the last of the clip
GOOD = tuple(index for index in range(N) if index not in BAD)
FACES = {"radius": 5, "noise_sigma": 3, "flat": 1}
METHODS = ("translation", "euclidean", "homography", "flow")
NO_WARP = 9


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(reference()).save("ref.png")
    save(90)
    return tmp_path


def reference() -> np.ndarray:
    return np.ascontiguousarray(face()[60 : 60 + SIZE, 160 : 160 + SIZE])


def moving() -> np.ndarray:
    shifts = [np.array([[1, 0, 0.7 * index], [0, 1, -0.5 * index], [0, 0, 1]]) for index in range(N)]
    return np.stack([codes(moved_by_matrix(reference(), shift)) for shift in shifts])


def save(bad: Any, at: tuple[int, ...] = BAD, name: str = "in.npy", dtype: type = np.uint8) -> None:
    """Write the clip with some frames replaced."""
    clip = moving().astype(dtype)
    clip[list(at)] = bad
    np.save(name, clip)


def job(output: str = "o.npy", method: str = "flow", warp: dict[str, Any] | None = None, **options: Any) -> Any:
    warp = {"method": method, "restart": RESTART} | (warp or {})
    values = {"input": "in.npy", "output": output, "reference": "ref.png", "validity": f"v_{output}", "ncc": FACES}
    return make_spec(values | {"warp": warp} | options)


def go(output: str = "o.npy", method: str = "flow", **options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    report = run(job(output, method, **options))
    return np.load(output), np.load(f"v_{output}"), read_sidecar(report.sidecar)


def assert_not_measured(maps: np.ndarray, validity: np.ndarray, sidecar: dict[str, Any], bad: tuple[int, ...]) -> None:
    """The frames of these places hold nothing, and that is said and counted; all others do hold something."""
    for index, row in enumerate(sidecar["frames"]):
        failed = index in bad
        assert ((validity[index] == NO_WARP).all(), (validity[index] == NO_WARP).any()) == (failed, failed)
        assert (row["mean_confidence"] is None) == failed
        if failed:
            assert (maps[index] == sidecar["spec"]["ncc"]["fill"]).all()
            assert row["code_shares"] == [0.0] * NO_WARP + [1.0]
            assert row["valid_share"] == 0
            assert {row[name] for name in ("median", "p05", "p95", "share_below", "gain", "warp_magnitude")} == {None}
            assert set(row["warp"]) == {"status", "problem"}
            assert row["warp"]["status"] == "invalid"
            assert row["warp"]["problem"]
    assert sidecar["validity_codes"][NO_WARP] == "no warp was found"
    summary = sidecar["summary"]
    assert (summary["failed_warps"], summary["damaged_frames"]) == (len(bad), 0)
    first = sidecar["frames"][bad[0]]
    assert summary["unmeasured_frames"] == {
        "n_frames": len(bad),
        "first": {"index": first["index"], "pts_seconds": first["pts_seconds"]},
        "reason": "no warp was found",
    }
    means = [row["mean_confidence"] for row in sidecar["frames"] if row["mean_confidence"] is not None]
    assert summary["mean_confidence"] == pytest.approx(np.mean(means))
    assert summary["scores"]["mean_confidence"]["worst"]["value"] == min(means)


@pytest.mark.parametrize("method", METHODS)
def test_a_frame_without_a_warp_is_not_measured(here, method: str) -> None:
    found = go(method=method, warped="w.npy", fields="f.npy", ncc=FACES | {"fill": 0.25})
    assert_not_measured(*found, BAD)
    assert not np.load("w.npy")[list(BAD)].any()
    assert np.isnan(np.load("f.npy")[list(BAD)]).all()
    assert np.load("w.npy")[list(GOOD)].any(axis=(1, 2)).all()
    assert verify("o.npy").problems == []


@pytest.mark.parametrize(
    ("bad", "dtype"),
    [
        (0, np.uint8),
        (255, np.uint8),
        (40, np.uint16),
        (np.nan, np.float32),
        (np.inf, np.float32),
    ],
)
def test_frames_that_hold_nothing_have_no_warp(here, bad: Any, dtype: type) -> None:
    save(bad, dtype=dtype)
    found = go(method="translation", ncc={"radius": 3})
    assert_not_measured(*found, BAD)


def test_a_clip_of_which_no_frame_has_a_warp(here, capfd) -> None:
    save(90, at=tuple(range(N)))
    words = ["run", "in.npy", "o.mkv", "--reference", "ref.png", "--warp", "flow", "--preview", "p.mp4"]
    assert main(words) == 0
    sidecar = read_sidecar("o.mkv.json")
    assert sidecar["summary"]["mean_confidence"] is None
    assert sidecar["summary"]["failed_warps"] == N
    assert capfd.readouterr().err.splitlines()[-1] == (
        "framencc: nothing was measured in any frame (no warp was found); no warp was found for 10 of 10 frames "
        "(marked invalid); the sidecar says for which, and why"
    )
    assert "Nothing was measured in any frame: no warp was found 100.0" in seen(write_report(here / "o.mkv")).text


@pytest.mark.parametrize(
    ("policy", "ending"),
    [
        ("invalid", " (marked invalid); the sidecar says for which, and why"),
        ("previous", "; the sidecar says for which, and what served instead"),
        ("identity", "; the sidecar says for which, and what served instead"),
    ],
)
def test_the_command_says_for_how_many_frames_no_warp_was_found(here, capfd, policy: str, ending: str) -> None:
    words = ["run", "in.npy", "o.npy", "--reference", "ref.png", "--warp", "affine"]
    assert main([*words, "--warp.on-failure", policy]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.endswith(f"no warp was found for 5 of 10 frames{ending}")
    unmeasured = (
        "look first at frame 0 (0.000 s), the first of 5 of 10 frames in which nothing was measured (no warp was"
    )
    assert (unmeasured in said) == (policy == "invalid")
    assert main([*words, "--warp.on-failure", policy, "--resume"]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == said


def test_a_run_can_end_where_no_warp_is_found(here) -> None:
    expected = r"^frame 0: the frame has no texture; warp\.on_failure = invalid marks such frames and continues$"
    with pytest.raises(WarpError, match=expected):
        go(warp={"on_failure": "fail"})


@pytest.mark.parametrize("method", ["translation", "affine", "flow"])
def test_what_serves_for_a_warp_changes_no_other_frame(here, method: str) -> None:
    """And a warm start after failures is that of the last warp that was found in the chain."""
    maps = {}
    for policy in ("invalid", "previous", "identity"):
        maps[policy], _, sidecar = go(f"{policy}.npy", method, warp={"on_failure": policy})
        statuses = [row["warp"]["status"] for row in sidecar["frames"]]
        # 0 and 4 begin chains, so there is no warp before them.
        serving = {2: policy, 3: policy, 9: policy} | dict.fromkeys(
            (0, 4), "invalid" if policy == "invalid" else "identity"
        )
        assert statuses == [serving.get(index, "estimated") for index in range(N)]
    for policy in ("previous", "identity"):
        tolerances.assert_same_bits(maps[policy][list(GOOD)], maps["invalid"][list(GOOD)])


@pytest.mark.parametrize("method", ["translation", "homography", "flow"])
@pytest.mark.parametrize("policy", ["invalid", "previous"])
def test_any_part_of_a_clip_with_failures_gives_the_same_bits(here, method: str, policy: str) -> None:
    warp = {"on_failure": policy} | ({"forward_backward": "weight"} if method == "flow" else {})
    whole, validity, _ = go("whole.npy", method, warp=warp)
    for first, last, step in ((1, 4, 1), (3, 10, 1), (2, 10, 3), (6, 10, 1)):
        part, codes_, sidecar = go(f"{first}_{step}.npy", method, warp=warp, frames=f"{first}:{last}:{step}")
        tolerances.assert_same_bits(part, whole[first:last:step])
        tolerances.assert_same_bits(codes_, validity[first:last:step])
        assert sidecar["summary"]["failed_warps"] == sum(index in BAD for index in range(first, last, step))


def test_a_run_with_failures_that_is_resumed_gives_the_same_bytes(here, monkeypatch) -> None:
    sidecar = go("whole.npy")[2]
    spec = job(segment_frames=3)
    cut_off(spec, monkeypatch, 7)
    run(spec.model_copy(update={"resume": True}))
    assert Path("o.npy").read_bytes() == Path("whole.npy").read_bytes()
    assert Path("v_o.npy").read_bytes() == Path("v_whole.npy").read_bytes()
    assert read_sidecar("o.npy.json")["summary"] == sidecar["summary"]


@pytest.mark.parametrize("policy", ["previous", "identity"])
@pytest.mark.parametrize("scale", [2.0, 1e6])
@pytest.mark.parametrize("flat", [1, -1])
def test_what_serves_for_a_warp_weighs_nothing(here, policy: str, scale: float, flat: float) -> None:
    """Its distance was never measured, so no part of max(rho, 0) exp(-d / scale) is left."""
    warp = {"on_failure": policy, "forward_backward": "weight", "forward_backward_scale": scale}
    maps, validity, sidecar = go(warp=warp, ncc=FACES | {"flat": flat})
    assert not maps[list(BAD)].any()
    assert (maps >= 0).all()
    assert set(np.unique(validity)) <= {0, 3, 5}
    for index in BAD:
        row = sidecar["frames"][index]
        assert row["mean_confidence"] == 0
        assert "median_forward_backward" not in row["warp"]
        assert row["warp"]["problem"] == "the frame has no texture"
    assert sidecar["summary"]["failed_warps"] == len(BAD)
    # The weight of the frame before a failure is its own.
    off, _, _ = go("off.npy", warp={"on_failure": policy, "forward_backward": "off"}, ncc=FACES | {"flat": flat})
    assert (off[list(BAD)] != 0).any() == (flat == 1) or (off[list(BAD)] < 0).any()
    assert (maps[list(GOOD)] <= np.maximum(off[list(GOOD)], 0)).all()


@pytest.mark.parametrize("policy", ["previous", "identity"])
@pytest.mark.parametrize("limit", [2.0, 1e6])
def test_what_serves_for_a_warp_fails_every_check(here, policy: str, limit: float) -> None:
    warp = {"on_failure": policy, "forward_backward": "check", "forward_backward_limit": limit}
    maps, validity, sidecar = go(warp=warp)
    assert set(np.unique(validity[list(BAD)])) <= {3, 7}
    assert (validity[list(BAD)] == 7).mean() > 0.9
    assert not maps[list(BAD)].any()
    assert [row["index"] for row in sidecar["frames"] if row["mean_confidence"] is None] == list(BAD)
    assert sidecar["summary"]["unmeasured_frames"]["reason"] == "forward-backward check failed"


@pytest.mark.parametrize("forward_backward", ["off", "check", "weight"])
def test_the_whole_frame_is_without_a_warp_also_where_it_is_masked_or_beyond_the_border(here, forward_backward) -> None:
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:, :40] = 0
    Image.fromarray(mask).save("mask.png")
    found = go(
        warp={"forward_backward": forward_backward},
        ncc={"mask": "mask.png", "border": "valid", "smooth_sigma": 1.5},
        scores={"regions": "mask.png"},
    )
    assert_not_measured(*found, BAD)
    assert {region["mean"] for index in BAD for region in found[2]["frames"][index]["regions"].values()} == {None}


@pytest.mark.parametrize(("encoding", "fill", "code"), [("clip", 0, 0), ("clip", 0.5, 128), ("signed", 0, 128)])
def test_a_map_without_a_warp_is_encoded_like_any_other(here, encoding: str, fill: float, code: int) -> None:
    run(job("m/%d.png", validity="v/%d.png", ncc=FACES | {"fill": fill}, output_format={"encoding": encoding}))
    for index in BAD:
        assert (np.asarray(Image.open(f"m/{index}.png")) == code).all()
        assert (np.asarray(Image.open(f"v/{index}.png")) == NO_WARP).all()
    assert verify("m/%d.png").problems == []


def test_maps_of_the_clip_leave_out_frames_without_a_warp(here) -> None:
    clip_maps = {"temporal_minimum": "low.npy", "temporal_mean": "mean.npy"}
    maps, validity, _ = go(scores=clip_maps, ncc=FACES | {"fill": -1})
    measured = np.where(validity == 0, maps, np.nan)[list(GOOD)]
    np.testing.assert_array_equal(np.load("low.npy"), np.fmin.reduce(measured))
    counts = np.isfinite(measured).sum(axis=0)
    np.testing.assert_allclose(np.nan_to_num(np.load("mean.npy")) * counts, np.nansum(measured, axis=0), atol=1e-5)
    assert counts.max() == len(GOOD)


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl"])
def test_tables_of_scores_say_which_frames_have_no_warp(here, name: str) -> None:
    words = ["run", "in.npy", "o.npy", "--reference", "ref.png", "--warp", "flow", "--scores", name, "-q"]
    assert main(words) == 0
    with Path(name).open(newline="") as file:
        if name == "s.csv":
            rows = list(csv.DictReader(file))
            found = [(row["warp_status"], row["mean_confidence"], float(row["code_share_9"])) for row in rows]
        else:
            rows = [json.loads(line) for line in file]
            found = [(row["warp"]["status"], row["mean_confidence"] or "", row["code_shares"][9]) for row in rows]
    for index, (status, mean, share) in enumerate(found):
        assert (status, mean == "", share) == (("invalid", True, 1) if index in BAD else ("estimated", False, 0))


# Fields from files


def write_fields(pattern: str = "fields/%03d.npy", first: int = 0, size: int = SIZE) -> list[Path]:
    Path(pattern).parent.mkdir(exist_ok=True)
    paths = [Path(pattern % (first + index)) for index in range(N)]
    for index, path in enumerate(paths):
        write_field(path, np.full((size, size, 2), (0.7 * index, -0.5 * index), np.float32))
    return paths


def from_fields(field: str = "fields/%03d.npy", **options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    return go(method="field", warp={"restart": 16, "field": field} | options.pop("warp", {}), **options)


@pytest.mark.parametrize("fields", ["f.npy", "f/%03d.npy", "f/%03d.flo", "f/%03d.exr"])
@pytest.mark.parametrize("method", ["translation", "flow"])
def test_a_run_with_failures_can_be_repeated_from_its_own_fields(here, method: str, fields: str) -> None:
    first = go("first.npy", method, fields=fields, warped="w1.npy")
    second = from_fields(fields, output="second.npy", fields="again.npy", warped="w2.npy")
    assert_not_measured(*second, BAD)
    assert Path("first.npy").read_bytes() == Path("second.npy").read_bytes()
    assert Path("v_first.npy").read_bytes() == Path("v_second.npy").read_bytes()
    assert Path("w1.npy").read_bytes() == Path("w2.npy").read_bytes()
    assert first[2]["summary"]["unmeasured_frames"] == second[2]["summary"]["unmeasured_frames"]


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
def test_a_field_without_any_displacement_is_no_warp(here, suffix: str, tolerant: bool) -> None:
    save(90, at=())
    paths = write_fields(f"fields/%03d{suffix}")
    for index in BAD:
        write_field(paths[index], np.full((SIZE, SIZE, 2), np.nan, np.float32))
    found = from_fields(f"fields/%03d{suffix}", tolerant=tolerant)
    assert_not_measured(*found, BAD)
    assert "holds no displacement" in found[2]["frames"][BAD[0]]["warp"]["problem"]
    with pytest.raises(WarpError, match=r"^frame 0: .*holds no displacement"):
        from_fields(f"fields/%03d{suffix}", output="x.npy", warp={"on_failure": "fail"})


def test_a_field_that_is_known_in_part_is_measured_there(here) -> None:
    save(90, at=())
    paths = write_fields()
    field = read_field(paths[5], (SIZE, SIZE))
    field[:100] = np.nan
    write_field(paths[5], field)
    _, validity, sidecar = from_fields()
    assert (validity[5][:100] == 3).all()
    assert (validity[5][100:-4] == 0).mean() > 0.9
    assert sidecar["summary"]["failed_warps"] == 0


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut off":
        os.truncate(path, 1000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "of another size":
        write_field(path, np.zeros((SIZE, SIZE - 1, 2), np.float32))
    else:
        field = np.zeros((SIZE, SIZE, 2), np.float32)
        field[3, 4] = np.inf
        np.save(path, field)


HOW = ("missing", "cut off", "empty", "of another size", "infinite")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("first", [0, 1001])
def test_a_field_that_cannot_be_read_makes_its_frame_a_damaged_one(here, how: str, first: int) -> None:
    save(90, at=())
    paths = write_fields(first=first)
    good, _, _ = from_fields(output="good.npy")
    for index in (2, 3, 6):
        damage(paths[index], how)
    maps, validity, sidecar = from_fields(tolerant=True, warped="w.npy", fields="f.npy")
    damaged = {row["index"]: row["damaged"] for row in sidecar["frames"] if "damaged" in row}
    assert sorted(damaged) == [2, 3, 6]
    assert all(why.startswith("warp.field: ") and "\n" not in why for why in damaged.values())
    assert (validity[[2, 3, 6]] == 8).all()
    assert not maps[[2, 3, 6]].any()
    assert not np.load("w.npy")[[2, 3, 6]].any()
    assert np.isnan(np.load("f.npy")[[2, 3, 6]]).all()
    summary = sidecar["summary"]
    assert (summary["damaged_frames"], summary["failed_warps"]) == (3, 0)
    others = [index for index in range(N) if index not in damaged]
    tolerances.assert_same_bits(maps[others], good[others])


@pytest.mark.parametrize(("how", "error"), [*((how, SourceError) for how in HOW[1:]), ("missing", SpecError)])
def test_a_field_that_cannot_be_read_ends_a_run_that_is_not_tolerant(here, how: str, error: type) -> None:
    save(90, at=())
    damage(write_fields()[3], how)
    with pytest.raises(error) as caught:
        from_fields()
    assert isinstance(caught.value, DamagedInputError) == (how in ("cut off", "empty"))
    assert not Path("o.npy").exists()


def test_too_many_fields_are_refused_also_by_a_tolerant_run(here) -> None:
    write_fields()
    np.save("in.npy", moving()[:8])
    with pytest.raises(SpecError, match=r"are 10, the input's frames 8"):
        from_fields(tolerant=True)


@pytest.mark.parametrize("lacking", [0, N - 1])
def test_fields_are_given_to_no_frame_by_guessing(here, lacking: int) -> None:
    """Where the first or the last of them is missing, they may count from 0 or from 1."""
    save(90, at=())
    write_fields(first=1)[lacking].unlink()
    with pytest.raises(SpecError, match=r"not certain to which frames they belong"):
        from_fields(tolerant=True)


@pytest.mark.parametrize("frames", ["1:8", "0:10:2", "6:"])
def test_a_part_of_a_clip_may_lack_fields_as_well(here, frames: str) -> None:
    save(90, at=())
    paths = write_fields()
    paths[6].unlink()
    damage(paths[4], "cut off")
    _, validity, sidecar = from_fields(tolerant=True, frames=frames)
    indices = [row["index"] for row in sidecar["frames"]]
    assert [row["index"] for row in sidecar["frames"] if "damaged" in row] == [i for i in (4, 6) if i in indices]
    assert [(codes_ == 8).all() for codes_ in validity] == [index in (4, 6) for index in indices]


def test_an_array_of_fields_that_is_cut_off(here) -> None:
    save(90, at=())
    np.save("f.npy", np.zeros((N, SIZE, SIZE, 2), np.float32))
    os.truncate("f.npy", 5 * SIZE * SIZE * 8)
    for tolerant in (False, True):
        with pytest.raises(SourceError, match=r"^field 'f\.npy' is damaged") as caught:
            from_fields("f.npy", tolerant=tolerant)
        assert not isinstance(caught.value, DamagedInputError)


def test_the_warp_of_the_frame_before_is_no_choice_for_fields() -> None:
    with pytest.raises(ValueError, match=r"warp\.on_failure = previous cannot apply to method = field"):
        WarpSpec(method="field", field="f.npy", on_failure="previous")
    assert WarpSpec(method="field", field="f.npy", on_failure="identity").chain_length == 1
    assert WarpSpec(method="translation").chain_length == 1
    assert WarpSpec().on_failure == "invalid"


# Reports


def test_a_report_says_for_which_frames_no_warp_was_found(here) -> None:
    # Longer than a few frames, so that there is something usual.
    clip = np.concatenate([moving(), moving(), moving()])
    clip[[12, 13, 14]] = 90
    np.save("in.npy", clip)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[40:80, 40:80] = 1
    Image.fromarray(labels).save("regions.png")
    output = run(job("o.mkv", validity="v.mkv", warped="w.mkv", scores={"regions": "regions.png"})).output
    kept = read_run(output)
    (stretch,) = find_stretches(kept)
    assert stretch.bad == (12, 13, 14)
    assert stretch.reasons == ("no warp was found in 3 frames: the frame has no texture",)
    panel = Gallery(kept).draw(13)
    assert panel.labels == ("static reference", "no warp was found", "confidence")
    text = seen(write_report(output)).text
    assert "The match breaks in 3 of 30 frames" in text
    assert "no warp was found in 3 frames: the frame has no texture" in text
    assert "no warp was found: the frame has no texture" in text
    assert "of 30 frames: the frame has no texture" in text


def test_a_report_shows_the_frame_itself_where_warped_frames_were_not_kept(here) -> None:
    output = run(job("o.mkv", validity="v.mkv")).output
    panel = Gallery(read_run(output)).draw(BAD[1])
    assert panel.labels == ("static reference", "frame, not warped", "confidence")
