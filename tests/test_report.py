"""What reports say, without a browser."""

import json
import re
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_runs import add_preview, add_regions, change, frame_row, real_run, seen, write_sidecar
from running import command, python

from framencc import SpecError
from framencc.errors import SinkError, SourceError
from framencc.report import write_comparison, write_report
from framencc.report.page import format_change, format_percent, format_score, format_seconds, script_json
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.report.series import Thinning, pack
from framencc.report.stretches import find_stretches

NO_NUMBER = re.compile(r"\b(nan|NaN|None|null|inf|Infinity)\b")


def drawn(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def column(data: dict, name: str) -> list:
    packed = data["columns"][name]
    return [None if value is None else value * packed["unit"] for value in packed["values"]]


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """A real run with a preview and made-up regions."""
    output = real_run(tmp_path_factory.mktemp("take"), validity=None)
    add_preview(output)
    regions = {
        "mouth": lambda index: 0.2 if 30 <= index < 34 else 0.9,
        "left_eye": lambda index: None if index == 5 else 0.9,
        "nothing": lambda _: None,
    }
    add_regions(output, regions, nothing=0)
    return output


def test_a_report_shows_where_the_match_breaks(take):
    page = write_report(take)
    assert page == take.with_name("maps.mkv.html")
    text = seen(page).text
    stretches = find_stretches(read_run(take))
    assert {stretch.where for stretch in stretches} == {"whole frame", "mouth", "left_eye"}
    whole = [stretch for stretch in stretches if stretch.where == "whole frame"]
    assert [(stretch.first, stretch.last) for stretch in whole] == [(19, 25)]  # in frame 18 it has hardly come in
    assert "mouth" in text
    assert "Confidence falls to 0.20 (otherwise 0.90)" in text
    assert "Nothing was measured in 1 frame" in text
    assert "no pixel of the picture has this label" in text
    assert not NO_NUMBER.search(text)


def test_the_timeline_holds_the_sidecars_numbers(take, tmp_path):
    data = drawn(write_report(take, tmp_path / "report.html"))
    rows = json.loads(take.with_name("maps.mkv.json").read_text())["frames"]
    means = [row["mean_confidence"] for row in rows]
    np.testing.assert_allclose(column(data, "mean_confidence"), means, atol=0.5001e-4)
    assert [value is None for value in column(data, "left_eye/mean_confidence")] == [i == 5 for i in range(40)]
    assert "nothing/mean_confidence" not in data["columns"]
    assert data["binFrames"] == 1


def test_thumbnails_show_the_frames_themselves(take):
    run = read_run(take)
    gallery = Gallery(run)
    whole = gallery.confidence(24)
    assert whole is not None
    mean = run.scores["mean_confidence"][24]
    valid = run.scores["valid_share"][24]
    # Codes are clipped at 0, so they can only be higher than the mean of rho.
    assert whole.mean() >= mean * valid - 0.01
    assert whole[:15].mean() > 0.99
    assert whole[40:70, 20:60].mean() < 0.1
    panel = gallery.draw(24)
    assert panel is not None
    assert panel.labels == ("static reference", "frame", "confidence")
    assert panel.uri.startswith("data:image/jpeg;base64,")
    assert gallery.problems == []


@pytest.mark.parametrize("name", ["maps.npy", "maps/%03d.png", "maps/%03d.tif"])
def test_maps_are_found_in_every_kind_of_output(tmp_path, name):
    output = real_run(tmp_path, name, n_frames=24, frames="4:24:3")
    gallery = Gallery(read_run(output))
    rho = gallery.confidence(6)  # frame 22, behind what passes
    assert rho is not None
    assert rho[:15].min() > 0.99
    assert rho[40:70, 20:60].mean() < 0.1
    assert gallery.problems == []


@pytest.mark.parametrize("kind", ["pictures", "array"])
def test_frames_are_found_in_every_kind_of_input(tmp_path, kind):
    from PIL import Image

    from framencc import RunSpec, run

    frames = np.random.default_rng(1).integers(0, 256, (4, 40, 300), dtype=np.uint8)
    if kind == "array":
        source = tmp_path / "in.npy"
        np.save(source, frames)
    else:
        source = tmp_path / "in"
        source.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(source / f"f_{index}.png")
    output = run(RunSpec(input=str(source), output=str(tmp_path / "maps.mkv"), reference=1)).output
    gallery = Gallery(read_run(output))
    assert gallery.draw(2).labels == ("static reference", "frame", "confidence")
    assert gallery.problems == []


def test_what_is_gone_or_changed_is_left_out_and_said(tmp_path):
    output = real_run(tmp_path, n_frames=24)
    (tmp_path / "take.mkv").write_bytes((tmp_path / "take.mkv").read_bytes() + b"more")
    page = seen(write_report(output))
    assert "has changed since the run" in page.text
    (tmp_path / "take.mkv").unlink()
    output.unlink()
    page = seen(write_report(output, overwrite=True))
    assert "is gone" in page.text
    assert "There are no pictures to show." in page.text


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [frame_row(0, 0.7)],
        [frame_row(0, None)],
        [frame_row(index, None, {"mouth": None}) for index in range(5)],
        [{"index": index, "pts_seconds": index / 25} for index in range(5)],
    ],
    ids=["none", "single", "single invalid", "all invalid", "without scores"],
)
def test_runs_with_little_to_show(tmp_path, rows):
    page = write_report(write_sidecar(tmp_path / "maps.mkv", rows))
    assert not NO_NUMBER.search(seen(page).text)
    assert drawn(page)["times"]["values"] == [400 * index for index in range(len(rows))]


def test_nothing_of_a_sidecar_becomes_markup(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028&quot;'\""
    rows = [frame_row(index, 0.2 if index == 3 else 0.9, {evil: 0.5}) for index in range(8)]
    rows[2]["warp"] = {"status": evil, "problem": evil}
    others = {
        "regions": {evil: {"label": 1, "n_pixels": 3}},
        "versions": {evil: evil},
        "validity_codes": [evil] * 8,
        "input": {"path": evil},
        "error": evil,
        "complete": False,
        "outputs": {"output": evil, "preview": evil, evil: evil},
        "stream": {"width": evil, "height": [evil], "bits": evil, "frame_rate": evil},
        "summary": {"code_shares": [0.5, evil, None, {}, True, 0.1, 2, -1]},
        "spec": {"input": evil, "ncc": {"radius": evil, evil: evil}, "warp": {"method": evil}},
    }
    page = seen(write_report(write_sidecar(tmp_path / "maps.mkv", rows, **others)))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes or attributes.get("src") == "x"]
    assert evil in page.text.replace("\xa0", " ") or "alert(2)" in page.text
    assert drawn(tmp_path / "maps.mkv.html")["strips"][0]["views"][0]["lines"][-1]["label"] == evil


def test_a_sidecar_does_not_get_other_files_into_the_page(tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_text("password: swordfish")
    sidecar = write_sidecar(tmp_path / "maps.mkv", [frame_row(0, 0.5)], outputs={"preview": "secret.mp4"})
    assert [tag for tag, _ in seen(write_report(sidecar)).tags if tag == "video"] == []


@pytest.mark.parametrize(
    "content",
    [
        '{"format_version": 1, "frames": [1]}',
        '{"format_version": 1, "frames": [{"index": null, "pts_seconds": 1}]}',
        '{"format_version": 1, "frames": [{"index": 1e300, "pts_seconds": 1}]}',
        '{"frames": []}',
        "[]",
        "{",
    ],
)
def test_a_damaged_sidecar_is_one_clear_line(tmp_path, content):
    (tmp_path / "maps.mkv.json").write_text(content)
    with pytest.raises(SourceError, match=r"^sidecar '.*maps\.mkv\.json' is [^\n]*$"):
        write_report(tmp_path / "maps.mkv")


def test_a_page_is_replaced_only_on_request_and_only_as_a_whole(tmp_path):
    sidecar = write_sidecar(tmp_path / "maps.mkv", [frame_row(0, 0.5)])
    page = write_report(sidecar)
    with pytest.raises(SpecError, match=r"exists; --overwrite replaces it"):
        write_report(sidecar)
    assert write_report(sidecar, overwrite=True) == page
    with pytest.raises(SpecError, match=r"must end in \.html"):
        write_report(sidecar, sidecar, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be written"):
        write_report(sidecar, tmp_path / "file" / "page.html")
    with pytest.raises(SourceError, match="has no sidecar"):
        write_report(tmp_path / "other.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "maps.mkv.html", "maps.mkv.json"]


@pytest.mark.slow
def test_ten_thousand_frames(tmp_path):
    n_frames, names = 10_000, ("left_eye", "right_eye", "mouth", "brow", "chin")
    noise = np.random.default_rng(0).normal(0, 0.02, (n_frames, 6))

    def rows():
        for index in range(n_frames):
            drop = 0.5 if index % 700 < 12 else 0.0
            values = [float(value) for value in 0.8 - drop + noise[index]]
            yield frame_row(index, values[0], dict(zip(names, values[1:], strict=True)))

    from media import ffmpeg

    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=64x48:rate=25:duration={n_frames / 25}", "-c:v", "ffv1", "-g", "1",
           "-pix_fmt", "gray", tmp_path / "maps.mkv")  # fmt: skip
    sidecar = write_sidecar(tmp_path / "maps.mkv", rows())
    started = time.perf_counter()
    page = write_report(sidecar)
    assert time.perf_counter() - started < 30
    assert page.stat().st_size < 15e6
    data = drawn(page)
    assert min(column(data, "mouth/mean_confidence")) < 0.3
    assert len(data["broken"]) >= 14
    assert len([tag for tag, _ in seen(page).tags if tag == "img"]) == 12 + 1


def test_memory_does_not_hold_the_frames(tmp_path):
    output = real_run(tmp_path, "maps.npy", n_frames=40)
    big = np.lib.format.open_memmap(output, "w+", np.float32, (40, 1080, 1920))
    big.flush()
    tracemalloc.start()
    write_report(output)
    assert tracemalloc.get_traced_memory()[1] < 20 * 1080 * 1920 * 4
    tracemalloc.stop()


@pytest.mark.parametrize("n_frames", [1, 9, 10, 11, 1000])
def test_thinning_loses_no_extreme(n_frames):
    values = np.random.default_rng(n_frames).normal(size=n_frames)
    values[n_frames // 2] = np.nan
    thinning = Thinning.fitting(n_frames, 3, most=30)
    points = thinning.thin(values)
    assert len(points) == len(thinning.places) <= max(30 // 3 + 2, n_frames if thinning.bin_frames == 1 else 0)
    if n_frames > 1:
        assert np.nanmin(points) == np.nanmin(values)
        assert np.nanmax(points) == np.nanmax(values)
    assert (np.diff(thinning.places) >= 0).all()


@pytest.mark.parametrize("scale", [1, 1e3, 1e7, 1e12, 1e300])
def test_packed_numbers_keep_what_can_be_seen(scale):
    values = np.array([0.12345678, -1, np.nan, 0.5, np.inf]) * scale
    packed = pack(values)
    back = [None if value is None else value * packed["unit"] for value in packed["values"]]
    assert back[2] is None
    assert back[4] is None
    np.testing.assert_allclose(np.array(back)[[0, 1, 3]].astype(float), values[[0, 1, 3]], atol=1e-4 * scale)
    json.dumps(packed, allow_nan=False)


def test_what_people_read():
    assert format_seconds(62.4799) == "1:02.480"
    assert format_seconds(3600) == "1:00:00.000"
    assert format_seconds(-0.5) == "-0:00.500"
    assert (format_score(None), format_score(float("nan")), format_score(0.12345)) == ("–", "–", "0.123")
    assert (format_change(-0.0004), format_change(0.25), format_change(None)) == ("+0.000", "+0.250", "–")
    assert (format_percent(0.0), format_percent(1e-5), format_percent(0.5)) == ("0.0 %", "< 0.1 %", "50.0 %")
    assert json.loads(script_json("</script>&\u2028")) == "</script>&\u2028"
    assert "<" not in script_json("</script>")


def test_the_command(tmp_path):
    sidecar = write_sidecar(tmp_path / "maps.mkv", [frame_row(0, 0.5)])
    result = command("report", sidecar, "-o", tmp_path / "page.html")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'page.html'}\n"
    result = command("report", sidecar, "-o", tmp_path / "page.html")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("package", ["jinja2", "plotly"])
def test_without_the_extra_its_name_is_said(tmp_path, package):
    sidecar = write_sidecar(tmp_path / "maps.mkv", [frame_row(0, 0.5)])
    result = python(
        f"import sys; sys.modules[{package!r}] = None\nfrom framencc.cli import main\nsys.exit(main(sys.argv[1:]))",
        *("report", sidecar),
    )
    assert result.returncode == 2
    assert 'pip install "framencc[report]"' in result.stderr
    assert not (tmp_path / "maps.mkv.html").exists()


def test_options_that_differ_from_the_defaults_are_listed(take, tmp_path):
    output = real_run(tmp_path, n_frames=24, ncc={"radius": 5})
    text = seen(write_report(output)).text
    assert "ncc.radius" in text
    assert "ncc.border" not in text
    change(output, lambda content: content["spec"].clear())
    assert "All options have their defaults." in seen(write_report(output, overwrite=True)).text


def test_what_lies_where_the_run_was_started_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "start" / "clips").mkdir(parents=True)
    (tmp_path / "start" / "out").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    clip = real_run(Path("clips"), n_frames=24).with_name("take.mkv")
    from framencc import RunSpec, run

    picture = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    Image.fromarray(picture).save("clips/neutral.png")
    run(RunSpec(input=str(clip), output="out/maps.mkv", reference="clips/neutral.png"))
    monkeypatch.chdir(tmp_path)
    for name in ("start", "moved"):
        page = seen(write_report(tmp_path / name / "out" / "maps.mkv", overwrite=True))
        assert "Note:" not in page.text
        assert "static reference" in page.text
        if name == "start":
            (tmp_path / "start").rename(tmp_path / "moved")


def test_maps_that_are_not_the_runs_own_are_not_shown(tmp_path):
    outputs = [real_run(tmp_path, name, ncc={"radius": radius}) for name, radius in (("a.mkv", 3), ("b.mkv", 1))]
    shutil.copy(outputs[1], outputs[0])
    page = seen(write_report(outputs[0]))
    assert page.text.count("does not hold what the run has written") == 1
    assert "Confidence of pixels" not in page.text
    page = seen(write_comparison(*outputs))
    assert "the maps cannot be compared: output" in page.text
    assert "Mean |B - A|" not in page.text


def test_what_is_wrong_with_a_file_is_said_once(tmp_path):
    output = real_run(tmp_path)
    output.write_bytes(output.read_bytes()[:2500])
    page = seen(write_report(output))
    assert page.text.count("Note:") == 1
    assert repr(str(output)) in page.text
    output.unlink()
    page = seen(write_report(output, overwrite=True))
    assert f"Note: output {str(output)!r} is gone." in page.text


def test_a_preview_that_cannot_be_shown_is_not_passed_over(tmp_path):
    output = real_run(tmp_path, preview=str(tmp_path / "look.mkv"))
    assert "is not shown, as browsers play no .mkv" in seen(write_report(output)).text
    (tmp_path / "look.mkv").unlink()
    assert "look.mkv' is gone" in seen(write_report(output, overwrite=True)).text
    assert "preview of A" in seen(write_comparison(output, output, tmp_path / "page.html")).text


def test_frames_of_a_sequence_are_named_by_their_files_as_well(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for number in (1, 2, 7):
        Image.fromarray(picture if number != 7 else 255 - picture).save(tmp_path / "in" / f"f_{number:03d}.png")
    from framencc import RunSpec, run

    spec = RunSpec(input=str(tmp_path / "in"), output=str(tmp_path / "maps.mkv"), reference=0, allow_gaps=True)
    text = seen(write_report(run(spec).output)).text
    assert re.search(r"Frame 2\s+0:00\.080\s+confidence -1\.000, 100\.0 % measured \(f_007\.png\)", text)
