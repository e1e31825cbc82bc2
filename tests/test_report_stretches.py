"""Where a report says that the match breaks, and what its first sentence makes of it."""

import numpy as np
import pytest
from report_runs import frame_row, real_run, seen, write_sidecar

from framencc.report import write_report
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.report.stretches import Watched, find_stretches, worst_places


@pytest.mark.parametrize(
    ("means", "sentence"),
    [
        ([0.9] * 9, "The match holds. No frame falls clearly below what is usual for this take."),
        ([0.2] * 9, "The match is weak throughout: its mean confidence is 0.200. No frame falls clearly below"),
        (
            [0.9] * 8 + [0.1],
            "The match breaks in 1 of 9 frames; worst at frame 8 (0:00.320): confidence falls to 0.10 (otherwise 0.90)",
        ),
        # More than half of a take may be bad, and is no less so for that.
        (
            [0.9] * 4 + [0.1] * 5,
            "The match breaks in 5 of 9 frames; worst at frame 4 (0:00.160): confidence falls to 0.10 (otherwise 0.90)",
        ),
        (
            [0.9] + [0.1] * 19,
            "The match is weak throughout: its mean confidence is 0.140. No frame falls clearly below",
        ),
        (
            [0.9] + [0.3] * 18 + [0.0],
            "The match is weak throughout: its mean confidence is 0.315. The match breaks in 1",
        ),
        ([None] * 9, "Nothing was measured in any frame"),
    ],
)
def test_the_first_sentence_says_it_all(tmp_path, means, sentence):
    sidecar = write_sidecar(tmp_path / "maps.mkv", [frame_row(index, mean) for index, mean in enumerate(means)])
    assert sentence in seen(write_report(sidecar)).text


def test_a_stretch_names_its_likely_cause(tmp_path):
    rows = [frame_row(index, 0.9) for index in range(30)]
    rows[7] |= {"mean_confidence": 0.4, "sharpness_ratio": 0.3, "gain": 2.0}
    rows[20] |= {"warp": {"status": "previous", "problem": "too dark"}}
    first, second = find_stretches(read_run(write_sidecar(tmp_path / "maps.mkv", rows)))
    assert (first.first, first.last, first.reasons) == (20, 20, ("no warp was found in 1 frame: too dark",))
    assert (second.first, second.last) == (7, 7)
    assert second.reasons == (
        "confidence falls to 0.40 (otherwise 0.90)",
        "blurred: sharpness 0.30 (usually 1.00)",
        "something else or a reflection: contrast 2.00 (usually 0.90)",
    )


def test_what_varies_much_is_held_to_the_threshold():
    values = np.tile([0.95, 0.55, 0.85, 0.65], 25)
    values[40] = 0.157
    assert Watched("confidence", values, 0.5).limit == 0.5
    assert np.flatnonzero(Watched("confidence", values, 0.5).drops()).tolist() == [40]
    assert Watched("share", values).limit == pytest.approx(0.475)
    weak = Watched("confidence", np.full(9, 0.52), 0.5)
    assert weak.limit == 0.5
    assert Watched("confidence", np.full(9, 0.3), 0.5).limit == pytest.approx(0.25)
    assert np.isnan(Watched("confidence", np.full(9, np.nan), 0.5).limit)


@pytest.mark.parametrize("n_bad", [1, 49, 51, 89])
@pytest.mark.parametrize("score", ["mean_confidence", "valid_share"])
def test_what_is_bad_does_not_become_usual_by_being_frequent(tmp_path, score, n_bad):
    rows = [frame_row(index, 0.9) | ({score: 0.05} if index < n_bad else {}) for index in range(100)]
    (stretch,) = find_stretches(read_run(write_sidecar(tmp_path / "maps.mkv", rows)))
    assert stretch.bad == tuple(range(n_bad))


def test_a_take_that_is_good_for_half_its_length_is_not_called_weak(tmp_path):
    rows = [frame_row(index, 0.9 if index < 49 else 0.05, {"mouth": 0.9}) for index in range(100)]
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows)
    text = seen(write_report(sidecar)).text
    assert "weak throughout" not in text
    assert "The match breaks in 51 of 100 frames" in text
    assert "below 0.5 in 51 of 100 frames" in text


def test_why_nothing_was_measured_is_said(tmp_path):
    rows = [frame_row(index, 0.9) for index in range(30)]
    for index in range(10, 15):
        rows[index] = frame_row(index, None, code_shares=[0, 0.1, 0.9, 0, 0, 0, 0, 0, 0])
        rows[index]["warp"] = {"status": "identity", "problem": "the frame has no texture"}
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows)
    (stretch,) = find_stretches(read_run(sidecar))
    assert stretch.reasons == (
        "no warp was found in 5 frames: the frame has no texture",
        "nothing was measured in 5 frames: flat frame",
    )
    text = seen(write_report(sidecar)).text
    assert "of 30 frames: the frame has no texture" in text
    assert "below 0.5 in 0 of 25 measured frames" in text


def test_a_region_that_breaks_while_the_whole_frame_holds_is_named(tmp_path):
    mouth = np.tile([0.95, 0.5, 0.9, 0.6], 10)
    mouth[30] = 0.157
    rows = [frame_row(index, 0.9, {"mouth": float(value), "brow": 0.9}) for index, value in enumerate(mouth)]
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows)
    (stretch,) = find_stretches(read_run(sidecar))
    assert (stretch.where, stretch.worst, stretch.bad) == ("mouth", 30, (30,))
    text = seen(write_report(sidecar)).text
    assert "The match holds" not in text
    assert "The match breaks in 1 of 40 frames; worst at frame 30 (0:01.200) in mouth: confidence falls to 0.16" in text


def test_a_region_that_is_weak_throughout_is_named(tmp_path):
    rows = [frame_row(index, 0.9, {"mouth": 0.3, "brow": 0.9}) for index in range(9)]
    text = seen(write_report(write_sidecar(tmp_path / "maps.mkv", rows))).text
    assert "The match is weak throughout in mouth (0.300). No frame falls clearly below" in text
    assert "The match holds" not in text


def test_good_frames_between_bad_ones_do_not_count_as_broken(tmp_path):
    rows = [frame_row(index, 0.1 if index in (3, 6) else 0.9) for index in range(20)]
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows)
    (stretch,) = find_stretches(read_run(sidecar))
    assert (stretch.first, stretch.last, stretch.bad) == (3, 6, (3, 6))
    assert "The match breaks in 2 of 20 frames" in seen(write_report(sidecar)).text


def damaged_row(index, regions=None):
    shares = [0.0] * 8 + [1.0]
    return frame_row(index, None, regions, damaged=f"packet {index} is broken", code_shares=shares)


def test_damaged_frames_are_told_apart_from_a_bad_match(tmp_path):
    bad = (10, 11, 12)
    rows = [damaged_row(index) if index in bad else frame_row(index, 0.9) for index in range(30)]
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows)
    run = read_run(sidecar)
    (stretch,) = find_stretches(run)
    assert stretch.bad == bad
    assert stretch.reasons == ("the video is damaged in 3 frames: packet 10 is broken",)
    text = seen(write_report(sidecar)).text
    assert "The match holds. No frame falls clearly below what is usual for this take. The video is damaged in" in text
    assert "The video is damaged in 3 frames: packet 10 is broken" in text
    assert "Damaged frames" in text


def test_a_take_of_damaged_frames_only_is_called_that(tmp_path):
    rows = [damaged_row(index, {"mouth": None}) for index in range(5)]
    summary = {"n_frames": 5, "code_shares": [0.0] * 8 + [1.0]}
    text = seen(write_report(write_sidecar(tmp_path / "maps.mkv", rows, summary=summary))).text
    assert "Nothing was measured in any frame: damaged 100.0 %." in text


def test_frames_without_a_measurement_do_not_crowd_out_the_others(tmp_path):
    def row(index):
        return damaged_row(index) if index % 40 == 5 else frame_row(index, 0.2 if index % 40 == 20 else 0.9)

    run = read_run(write_sidecar(tmp_path / "maps.mkv", [row(index) for index in range(800)]))
    places = worst_places(run, find_stretches(run), 12)
    assert len(places) == 12
    assert sum(place % 40 == 5 for place in places) == 3
    assert sum(place % 40 == 20 for place in places) == 9


def test_the_panel_of_a_damaged_frame_shows_no_frame(tmp_path):
    clip = tmp_path / "take.mkv"
    real_run(tmp_path)  # makes the clip
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    clip.write_bytes(content)
    output = real_run(tmp_path, "tolerated.mkv", tolerant=True)
    run = read_run(output)
    assert 0 < len(run.damaged) < run.n_frames
    gallery = Gallery(run)
    panel = gallery.draw(next(iter(run.damaged)))
    assert panel is not None
    assert panel.labels == ("static reference", "damaged frame", "confidence")
    assert gallery.problems == []


def test_worst_places_lie_apart_and_are_no_more_than_asked_for(tmp_path):
    rows = [frame_row(index, 0.1 if 19 <= index < 26 else 0.9, {"mouth": 0.8 + index / 400}) for index in range(40)]
    run = read_run(write_sidecar(tmp_path / "maps.mkv", rows))
    places = worst_places(run, find_stretches(run), 12)
    assert 1 < len(places) == len(set(places)) <= 12
    assert worst_places(run, find_stretches(run), 1) == places[:1]
