"""Frames for which no warp is found: nothing of them looks like a measurement, in whatever a run leaves."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from cut_off_runs import cut_off
from missing_warps import (
    BAD,
    FACES,
    GOOD,
    METHODS,
    NO_WARP,
    SIZE,
    N,
    assert_not_measured,
    begin,
    go,
    job,
    moving,
    save,
)
from PIL import Image
from report_runs import seen

from framencc import WarpError, run
from framencc.cli import main
from framencc.report import write_report
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.report.stretches import find_stretches
from framencc.sidecar import read_sidecar
from framencc.verification import verify

pytest.importorskip("cv2", reason="OpenCV is an optional extra")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return begin(tmp_path)


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
