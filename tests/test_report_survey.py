"""What a report shows of all frames together: the distribution of confidences, and maps of the clip."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from report_runs import change, frame_row, real_run, seen, write_sidecar

from framencc.report import write_report
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.report.survey import survey
from framencc.shades import UNMEASURED


def look(output):
    run = read_run(output)
    gallery = Gallery(run)
    return survey(run, gallery), gallery


def test_the_survey_shows_where_in_the_picture(tmp_path):
    found, _ = look(real_run(tmp_path, validity=str(tmp_path / "why.mkv")))
    assert found.panel.labels == ("static reference", "mean confidence", "lowest confidence")
    assert found.note == "Every pixel's mean and lowest confidence over 24 frames of the clip."
    assert found.n_sampled == 24
    assert found.counts[-1] > 0.9 * sum(found.counts)
    assert 0 < 24 * 96 * 128 - sum(found.counts) < 6 * 70 * 118  # what passes is flat, and so not measured


@pytest.mark.parametrize(("encoding", "fill"), [("clip", 0.0), ("clip", 1.0), ("signed", 0.4)])
def test_pixels_without_a_measurement_do_not_count_with_or_without_validity(tmp_path, fill, encoding):
    mask = np.full((96, 128), 255, np.uint8)
    mask[:, 64:] = 0
    np.save(tmp_path / "mask.npy", mask)
    ncc = {"mask": str(tmp_path / "mask.npy"), "fill": fill}
    output = real_run(
        tmp_path, ncc=ncc, validity=str(tmp_path / "why.mkv"), output_format={"encoding": encoding, "bits": 16}
    )
    known, _ = look(output)
    change(output, lambda content: content["outputs"].pop("validity"))
    guessed, gallery = look(output)
    assert known.counts == guessed.counts
    assert 0 < sum(known.counts) <= 24 * 96 * 64
    if fill != 1.0:  # pixels that match wholly look like the others then
        assert known.panel.uri == guessed.panel.uri
    assert gallery.problems == []


def test_frames_of_which_nothing_was_measured_are_not_looked_at(tmp_path):
    frames = np.random.default_rng(3).integers(0, 256, (30, 40, 60), dtype=np.uint8)
    frames[1:20] = 77
    frames[20:] = frames[0]
    np.save(tmp_path / "in.npy", frames)
    from framencc import RunSpec, run

    report = run(RunSpec(input=str(tmp_path / "in.npy"), output=str(tmp_path / "maps.npy"), reference=0))
    found, _ = look(report.output)
    assert found.n_sampled == 11
    assert found.counts[-1] == sum(found.counts) == 11 * 40 * 60


def picture_of(panel):
    """Return the cells of a panel, from left to right."""
    content = base64.b64decode(panel.uri.partition(",")[2])
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    return [sheet[:, left : left + 300] for left in range(0, sheet.shape[1], 306)]


@pytest.mark.parametrize(("kept", "fill"), [(True, 1.0), (False, 0.0)])
def test_what_was_not_measured_is_blue_in_pictures(tmp_path, fill, kept):
    mask = np.full((96, 128), 255, np.uint8)
    mask[:, 64:] = 0
    np.save(tmp_path / "mask.npy", mask)
    others = {"validity": str(tmp_path / "why.mkv")} if kept else {"output_format": {"encoding": "signed", "bits": 16}}
    output = real_run(tmp_path, ncc={"mask": str(tmp_path / "mask.npy"), "fill": fill}, **others)
    gallery = Gallery(read_run(output))
    for panel, cells in ((gallery.draw(2), (2,)), (survey(read_run(output), gallery).panel, (1, 2))):
        for number in cells:
            left, right = np.split(picture_of(panel)[number], 2, axis=1)
            if kept or fill == 0:  # else all that was measured is 1 like the fill: which pixels those are, is not known
                np.testing.assert_allclose(right[:, 20:].mean(axis=(0, 1)), UNMEASURED, atol=4)
            assert np.ptp(left[:, :-20].mean(axis=(0, 1))) < 4


@pytest.mark.parametrize("bits", [12, None])
def test_frames_are_shown_between_the_references_black_and_white(tmp_path, bits):
    """12 bits in a file of 16 are not black, and frames that become darker are seen to."""
    picture = np.random.default_rng(1).integers(0, 256, (60, 80)).astype(np.float64)
    frames = np.stack([picture * scale for scale in (1, 0.5, 0.25)])
    frames = (frames * 16).astype(np.uint16) if bits else (frames / 255 * 40).astype(np.float32)
    np.save(tmp_path / "in.npy", frames)
    from framencc import RunSpec, run

    output = run(RunSpec(input=str(tmp_path / "in.npy"), output=str(tmp_path / "maps.npy"), reference=0)).output
    gallery = Gallery(read_run(output))
    means = [picture_of(gallery.draw(place))[1].mean() for place in range(3)]
    static = picture_of(gallery.draw(0))[0].mean()
    np.testing.assert_allclose(means, [127, 64, 32], atol=3)
    assert static == pytest.approx(means[0], abs=1)


def test_a_strip_of_pixels_is_no_crash(tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, (3, 900, 3), dtype=np.uint8)
    np.save(tmp_path / "in.npy", frames)
    from framencc import RunSpec, run

    output = run(RunSpec(input=str(tmp_path / "in.npy"), output=str(tmp_path / "maps.npy"), reference=0)).output
    panel = Gallery(read_run(output)).draw(1)
    assert (panel.width, panel.height) == (912, 1200)
    assert write_report(output).is_file()


@pytest.mark.parametrize("flat", [1.0, -0.5])
def test_windows_without_texture_do_not_count_whatever_they_hold(tmp_path, flat):
    output = real_run(
        tmp_path,
        ncc={"flat": flat},
        validity=str(tmp_path / "why.mkv"),
        output_format={"encoding": "signed", "bits": 16},
    )
    known, _ = look(output)
    change(output, lambda content: content["outputs"].pop("validity"))
    assert look(output)[0].counts == known.counts
    assert sum(known.counts) < 24 * 96 * 128


def test_smoothed_maps_are_looked_at_only_where_all_is_measured(tmp_path):
    output = real_run(tmp_path, ncc={"smooth_sigma": 1})
    run = read_run(output)
    whole = int(np.count_nonzero(run.scores["valid_share"] == 1))
    assert 0 < whole < run.n_frames  # where something passes it has windows without texture, which smoothing changes
    found, _ = look(output)
    assert sum(found.counts) == found.n_sampled * 96 * 128


def test_a_lossy_output_is_looked_at_only_where_all_is_measured(tmp_path):
    mask = np.full((96, 128), 255, np.uint8)
    mask[:, 64:] = 0
    np.save(tmp_path / "mask.npy", mask)
    found, gallery = look(real_run(tmp_path, "maps.mp4", ncc={"mask": str(tmp_path / "mask.npy")}))
    assert found is None
    assert "--validity keeps it" in gallery.problems[-1]
    found, gallery = look(real_run(tmp_path, "whole.mp4"))
    assert found.n_sampled == 24
    assert sum(found.counts) == 24 * 96 * 128


@pytest.mark.parametrize(("lowest", "mean"), [("low.png", "mean.tif"), ("low.npy", "mean.npy")])
def test_the_runs_own_maps_of_the_clip_are_shown(tmp_path, lowest, mean):
    scores = {"temporal_minimum": str(tmp_path / lowest), "temporal_mean": str(tmp_path / mean)}
    output = real_run(tmp_path, scores=scores)
    found, gallery = look(output)
    of_codes = " In a map of codes what was never measured is black as well." if lowest.endswith("png") else ""
    assert found.note == f"Every pixel's mean and lowest confidence over all frames.{of_codes}"
    assert gallery.problems == []
    from framencc.sources import read_picture

    own = gallery.clip_map("temporal_minimum")
    stored = read_picture(tmp_path / lowest).astype(np.float32)
    np.testing.assert_allclose(own, stored / 255 if lowest.endswith("png") else stored, rtol=1e-6)
    text = seen(write_report(output)).text
    assert "over all frames" in text
    # Files that were written are no options of the run.
    assert "temporal_mean" not in text.split("Options that differ from their defaults")[1].split("What was run")[0]
    (tmp_path / lowest).unlink()
    found, gallery = look(output)
    sampled = "lowest confidence over 24 frames of the clip"
    assert found.note.startswith(f"Every pixel's mean confidence over all frames, {sampled}.")
    assert "does not exist" in gallery.problems[-1]


def test_zeros_that_were_measured_are_no_gaps_in_the_maps_of_the_clip(tmp_path):
    """Most zeros of a frame are a match that fails, and few lie outside: without validity the two maps show zeros."""
    maps = np.full((6, 10, 10), 0.8, np.float32)
    maps[:, :4] = 0
    maps[3:, 9, :3] = 0
    np.save(tmp_path / "maps.npy", maps)
    shares = [0.97, 0, 0, 0.03, 0, 0, 0, 0, 0]
    rows = [frame_row(index, 0.5, code_shares=shares if index >= 3 else [1] + [0] * 8) for index in range(6)]
    for row in rows:
        row["valid_share"] = row["code_shares"][0]
    sidecar = write_sidecar(tmp_path / "maps.npy", rows, outputs={"output": "maps.npy"}, encoding={"encoding": "float"})
    found, gallery = look(sidecar)
    assert sum(found.counts) == 600 - 9
    assert found.counts[0] == 6 * 40
    mean, lowest = picture_of(found.panel)[-2:]
    for cell in (mean, lowest):
        np.testing.assert_allclose(cell[:110].mean(axis=(0, 1)), 0, atol=2)
    assert gallery.problems != []  # the input is gone


def test_validity_of_another_size_is_no_crash(tmp_path):
    """A sidecar without digests does not tell whose codes they are: pixels are told by their values then."""
    np.save(tmp_path / "maps.npy", np.full((2, 6, 8), 0.8, np.float32))
    np.save(tmp_path / "why.npy", np.zeros((2, 3, 4), np.uint8))
    rows = [frame_row(index, 0.8) for index in range(2)]
    files = {"output": "maps.npy", "validity": "why.npy"}
    sidecar = write_sidecar(tmp_path / "maps.npy", rows, outputs=files, encoding={"encoding": "float"})
    found, gallery = look(sidecar)
    assert sum(found.counts) == 2 * 6 * 8
    assert gallery.draw(0) is not None
