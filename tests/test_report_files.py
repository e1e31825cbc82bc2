"""Where a report finds what a run has read, and that it shows only what the run has written."""

import shutil
from pathlib import Path

import pytest
from report_runs import change, real_run, seen
from running import thinned

from framencc import RunSpec, run
from framencc.report import write_report

pytestmark = pytest.mark.timeout(120)
PLACES = ["{}/far/maps.mkv", "{}/start/out/maps.mkv", "../far/maps.mkv", "out/../maps.mkv"]


@pytest.mark.parametrize("output", thinned(PLACES, "../far/maps.mkv"))
def test_what_was_read_is_found_wherever_the_output_went(output, tmp_path, monkeypatch):
    for folder in ("start/clips", "start/out", "far", "elsewhere/clips"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "start")
    clip = real_run(Path("clips"), n_frames=24).with_name("take.mkv")
    (tmp_path / "elsewhere" / "clips" / "take.mkv").write_bytes(b"another of that name")
    made = run(RunSpec(input=str(clip), output=output.format(tmp_path), reference=0)).output.resolve()
    monkeypatch.chdir(tmp_path / "elsewhere")
    page = seen(write_report(made))
    assert "Note:" not in page.text
    assert "static reference" in page.text


def test_where_a_run_was_started_is_no_part_of_what_it_is(tmp_path, monkeypatch):
    output = real_run(tmp_path, n_frames=24)
    written = output.with_name("maps.mkv.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    report = run(RunSpec(input="take.mkv", output="maps.mkv", reference=0, resume=True))
    assert report.n_resumed == 24
    assert output.with_name("maps.mkv.json").read_bytes() == written


def test_maps_of_the_clip_that_are_not_the_runs_own_are_not_shown(tmp_path):
    for name, radius in (("a", 3), ("b", 1)):
        scores = {"temporal_mean": str(tmp_path / f"{name}.png")}
        real_run(tmp_path, f"{name}.mkv", ncc={"radius": radius}, scores=scores)
    output = tmp_path / "a.mkv"
    assert "mean confidence over all frames" in seen(write_report(output)).text
    shutil.copy(tmp_path / "b.png", tmp_path / "a.png")
    text = seen(write_report(output, overwrite=True)).text
    assert "a.png' does not hold what was written; framencc verify says more." in text
    assert "over all frames" not in text
    assert text.count("Note:") == 1


def test_warped_frames_that_are_gone_are_not_said_never_to_have_been_kept(tmp_path):
    warped = tmp_path / "warped.mkv"
    output = real_run(tmp_path, warp={"method": "translation"}, warped=str(warped))
    warped.unlink()
    text = seen(write_report(output)).text
    assert f"Note: output {str(warped)!r} is gone." in text
    assert "were not kept" not in text
    assert "frame, not warped" in text


@pytest.mark.parametrize("verify", ["packets", "full"])
def test_lossy_maps_that_are_not_the_runs_own_are_not_shown(verify, tmp_path):
    for name, radius in (("a", 3), ("b", 1)):
        real_run(tmp_path, f"{name}.mp4", ncc={"radius": radius}, verify=verify)
    output = tmp_path / "a.mp4"
    assert "does not hold what the run has written" not in seen(write_report(output)).text
    shutil.copy(tmp_path / "b.mp4", output)
    assert "a.mp4' does not hold what the run has written" in seen(write_report(output, overwrite=True)).text


def test_lossy_maps_of_which_nothing_is_known_are_shown(tmp_path):
    output = real_run(tmp_path, "maps.mp4", verify=False)
    change(output, lambda content: [row.pop("imprints") for row in content["frames"]])
    assert "does not hold what the run has written" not in seen(write_report(output)).text
