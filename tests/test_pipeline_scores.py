"""The scores of whole runs: in the sidecar, as CSV and JSON lines, of regions, and the maps of the whole clip."""

import csv
import json
from pathlib import Path

import media
import numpy as np
import pytest
import score_oracle
from PIL import Image
from running import command
from sink_readback import names, visible

from framencc.config import make_spec
from framencc.errors import DamagedInputError, SinkError, SpecError
from framencc.pipeline import describe, run
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.publishing import Move
from framencc.render import encode
from framencc.sidecar import read_sidecar
from framencc.verification import verify

pytestmark = pytest.mark.timeout(120)

FOOTAGE = media.footage()
SHAPE = (144, 176)
N_FRAMES = 12
REGIONS = {"left_eye": 1, "mouth": 2, "nothing": 9}
CLIP_MAPS = {"temporal_minimum": "lowest.npy", "temporal_mean": "mean.npy"}


class CutOff(BaseException):
    """What a signal does to a run."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.zeros(SHAPE, np.uint8)
    labels[30:60, 40:80], labels[80:120, 60:120] = 1, 2
    Image.fromarray(labels).save("regions.png")
    return tmp_path


def job(output="out.npy", **options):
    given = {"input": str(FOOTAGE), "output": output, "reference": 0, "frames": f"0:{N_FRAMES}", "segment_frames": 4}
    return make_spec(given | options)


def named_regions(**options):
    return {"regions": "regions.png", "region_names": [f"{label}={name}" for name, label in REGIONS.items()]} | options


def cut_off(spec, monkeypatch, n_maps):
    write, calls = Outputs.write, iter(range(n_maps))

    def write_or_end(*arguments):
        if next(calls, None) is None:
            raise CutOff
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", write_or_end)
        with pytest.raises(CutOff):
            run(spec)


def assert_close(found, expected):
    percentiles = {"median", "p05", "p95"}
    for names_of_kind, tolerance in ((percentiles, 1 / 4096), (set(expected) - percentiles, 1e-6)):
        one, other = ({name: scores[name] for name in names_of_kind} for scores in (found, expected))
        assert one == pytest.approx(other, abs=tolerance)


@pytest.mark.parametrize("warp", ["none", "translation", "flow"])
def test_scores_of_a_run_are_those_of_its_own_outputs(here, warp):
    options = {"validity": "why.npy", "scores": named_regions(threshold=0.6)}
    if warp != "none":
        options |= {"warped": "warped.npy", "fields": "fields.npy", "warp": {"method": warp}}
    rows = read_sidecar(run(job(**options)).sidecar)["frames"]
    maps, codes = np.load("out.npy"), np.load("why.npy")
    video = media.decode_luma(FOOTAGE, *SHAPE)[:N_FRAMES]
    frames, scale = (np.load("warped.npy"), 1 / 256) if warp != "none" else (video, 1.0)
    fields = np.load("fields.npy") if warp != "none" else [None] * N_FRAMES
    labels = np.asarray(Image.open("regions.png"))
    assert len(rows) == N_FRAMES
    for row, rho, code, frame, field in zip(rows, maps, codes, frames, fields, strict=True):
        given = {"planes": frame[np.newaxis], "reference": video[:1], "scale": scale, "field": field}
        expected = score_oracle.scores(rho, code, 0.6, **given)
        expected["mean_confidence"] = expected.pop("mean")
        assert_close({name: row[name] for name in expected}, expected)
        for name, label in REGIONS.items():
            found = dict(row["regions"][name])
            assert found.pop("n_pixels") == (labels == label).sum()
            assert_close(found, score_oracle.scores(rho, code, 0.6, where=labels == label, **given))


def test_regions_are_described_and_missing_labels_have_no_pixel(here):
    report = run(job(scores=named_regions(path="s.csv")))
    head = read_sidecar(report.sidecar)
    sizes = {"left_eye": 1200, "mouth": 2400, "nothing": 0}
    assert head["regions"] == {name: {"label": REGIONS[name], "n_pixels": sizes[name]} for name in REGIONS}
    assert set(head["summary"]["regions"]) == set(REGIONS)
    assert head["summary"]["regions"]["nothing"]["mean"] == {"mean": None, "worst": None}
    with Path("s.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["nothing.n_pixels"] == "0"
            assert {row[name] for name in row if name.startswith("nothing.")} == {"0", ""}


def test_without_names_every_label_is_a_region(here):
    head = read_sidecar(run(job(scores={"regions": "regions.png"})).sidecar)
    assert list(head["regions"]) == ["label_1", "label_2"]
    assert list(head["frames"][0]["regions"]) == ["label_1", "label_2"]


def test_without_regions_there_are_none(here):
    head = read_sidecar(run(job()).sidecar)
    assert head["regions"] is None
    assert head["summary"]["regions"] is None
    assert all("regions" not in row for row in head["frames"])


def test_csv_and_json_lines_hold_the_rows(here):
    options = {"warp": {"method": "translation"}, "ncc": {"border": "valid"}}
    for path in ("s.csv", "s.jsonl"):
        report = run(job(f"{path}.npy", scores=named_regions(path=path), **options))
        assert report.others == {"scores": Path(path)}
    rows = read_sidecar(report.sidecar)["frames"]
    lines = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert lines == [{name: value for name, value in row.items() if name != "digests"} for row in rows]
    with Path("s.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == len(rows) == N_FRAMES
    for row, line in zip(rows, cells, strict=True):
        for name, value in line.items():
            region, _, score = name.rpartition(".")
            expected = row["regions"][region][score] if region else row.get(name)
            if name.startswith("code_share_"):
                expected = row["code_shares"][int(name[-1])]
            elif name == "warp_status":
                expected = row["warp"]["status"]
            assert value == ("" if expected is None else str(expected)), name


def test_pandas_reads_numbers_as_numbers(here):
    pandas = pytest.importorskip("pandas")
    video = media.random_frames(3, *SHAPE)
    video[1] = 7
    np.save("in.npy", video)
    run(job(input="in.npy", frames=None, scores=named_regions(path="s.csv")))
    table = pandas.read_csv("s.csv")
    integers = {"index", *(f"{name}.n_pixels" for name in REGIONS)}
    for name, dtype in table.dtypes.items():
        assert dtype == (np.int64 if name in integers else np.float64), name
    assert len(table) == 3
    assert table["mean_confidence"].isna().tolist() == [False, True, False]
    assert table["nothing.mean"].isna().all()


def test_a_csv_of_pictures_names_them(here):
    Path("in").mkdir()
    for index, frame in enumerate(media.random_frames(3)):
        Image.fromarray(frame).save(f"in/take,{index}.png")
    run(job(input="in", frames=None, scores={"path": "s.csv"}))
    with Path("s.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["take,0.png", "take,1.png", "take,2.png"]


@pytest.mark.parametrize("n_frames", [1, 3])
def test_frames_without_a_measurement_have_no_numbers(here, n_frames):
    np.save("in.npy", np.full((n_frames, 20, 30), 7, np.uint8))
    report = run(job(input="in.npy", frames=None, scores={"path": "s.jsonl", **CLIP_MAPS}))
    assert (report.lowest, report.n_below, report.mean_confidence) == (None, 0, None)
    summary = read_sidecar(report.sidecar)["summary"]
    assert summary["scores"].pop("valid_share") == {
        "mean": 0.0,
        "worst": {"index": 0, "pts_seconds": 0.0, "value": 0.0},
    }
    assert list(summary["scores"].values()) == [{"mean": None, "worst": None}] * 8
    assert len(Path("s.jsonl").read_text().splitlines()) == n_frames
    assert "NaN" not in Path("s.jsonl").read_text() + report.sidecar.read_text()
    assert np.isnan(np.load("lowest.npy")).all()
    assert np.isnan(np.load("mean.npy")).all()


def test_a_damaged_frame_has_no_numbers_and_takes_no_part(here):
    Path("in").mkdir()
    video = media.random_frames(4)
    for index, frame in enumerate(video):
        Image.fromarray(frame).save(f"in/{index}.png")
    media.corrupt(Path("in/2.png"), Path("in/2.png"), 0.5)
    spec = job(input="in", frames=None, tolerant=True, validity="why.npy", scores={"path": "s.csv", **CLIP_MAPS})
    report = run(spec)
    rows = read_sidecar(report.sidecar)["frames"]
    assert [row["median"] is None for row in rows] == [False, False, True, False]
    assert rows[2]["gain"] is None
    assert report.n_damaged == 1
    with Path("s.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["damaged"] != "" for line in lines] == [False, False, True, False]
    assert_clip_maps(np.load("out.npy"), np.load("why.npy"))


def assert_clip_maps(maps, codes):
    measured = codes == 0
    lowest = np.where(measured.any(0), np.where(measured, maps, np.inf).min(0), np.nan)
    np.testing.assert_array_equal(np.load("lowest.npy"), lowest.astype(np.float32))
    with np.errstate(invalid="ignore"):
        mean = np.where(measured, maps.astype(np.float64), 0).sum(0) / measured.sum(0)
    np.testing.assert_allclose(np.load("mean.npy"), mean, rtol=0, atol=1e-7)


def test_clip_maps_are_those_of_the_maps_where_they_were_measured(here):
    video = media.random_frames(7)
    video[1, :20], video[4, :, 30:], video[:, 10:20, :12] = 90, 3, 200
    np.save("in.npy", video)
    run(job(input="in.npy", frames=None, validity="why.npy", ncc={"fill": -0.75, "flat": -1}, scores=CLIP_MAPS))
    maps, codes = np.load("out.npy"), np.load("why.npy")
    assert np.isnan(np.load("lowest.npy")).any()
    assert_clip_maps(maps, codes)


@pytest.mark.parametrize(
    ("encoding", "bits"), [(None, 8), ("clip", 16), ("signed", 8)], ids=["unset", "16 bits", "signed"]
)
def test_clip_maps_as_pictures_hold_codes(here, encoding, bits):
    how = {"encoding": encoding, "bits": bits}
    run(job("out.mkv", scores=CLIP_MAPS))
    report = run(job("b.mkv", output_format=how, scores={"temporal_minimum": "low.png", "temporal_mean": "mean.tif"}))
    expected = encode(np.load("lowest.npy"), encoding or "clip", bits)
    np.testing.assert_array_equal(np.asarray(Image.open("low.png")), expected)
    results = read_sidecar(report.sidecar)["results"]
    assert results["temporal_minimum"]["encoding"] == (encoding or "clip")
    assert results["temporal_mean"]["encoding"] == "float"
    np.testing.assert_array_equal(np.asarray(Image.open("mean.tif")), np.load("mean.npy"))


@pytest.mark.parametrize("output", ["out.npy", "out.mp4", "maps/%d.png"])
def test_a_run_in_pieces_ends_with_the_same_results(output, here, monkeypatch):
    results = {"path": "s.csv", **CLIP_MAPS}
    found = []
    for folder, threads in (("whole", 1), ("pieces", 2)):
        (here / folder).mkdir()
        monkeypatch.chdir(here / folder)
        Path("regions.png").write_bytes((here / "regions.png").read_bytes())
        spec = job(output, resume=True, threads=threads, warp={"method": "flow"}, scores=named_regions(**results))
        if folder == "pieces":
            for n_maps in (6, 5):  # each counts from where the run goes on
                cut_off(spec, monkeypatch, n_maps)
                states = [path.name for path in (here / folder).rglob("clip_maps_*.npz")]
                assert states == [f"clip_maps_{4 if n_maps == 6 else 8:09d}.npz"]
        report = run(spec)
        found.append({path: Path(path).read_bytes() for path in results.values()})
        assert [name for name in names(Path()) if name not in visible(Path())] == []
    assert found[0] == found[1]
    again = run(spec)
    assert (again.others, again.lowest, again.n_below) == (report.others, report.lowest, report.n_below)


def test_a_state_of_the_clip_that_has_changed_is_not_gone_on_with(here, monkeypatch):
    spec = job(scores=CLIP_MAPS, resume=True)
    cut_off(spec, monkeypatch, 6)
    (state,) = here.glob(".*/clip_maps_*.npz")
    state.write_bytes(state.read_bytes()[:-1] + b"!")
    with pytest.raises(
        SinkError,
        match=r"what has added up for temporal_mean and .*give --overwrite instead of --resume",
    ):
        run(spec)


def test_results_take_their_names_with_the_outputs_or_not_at_all(here, monkeypatch):
    spec = job(scores={"path": "s.csv", **CLIP_MAPS})
    carry_out = Move.carry_out

    def fail_for_the_maps(move):
        if move.target.name == "out.npy":
            raise OSError(5, "Input/output error")
        carry_out(move)

    before = visible(here)
    with monkeypatch.context() as patch:
        patch.setattr(Move, "carry_out", fail_for_the_maps)
        with pytest.raises(SinkError):
            run(spec)
    assert visible(here) == before
    run(spec.model_copy(update={"resume": True}))
    assert {"out.npy", "out.npy.json", "s.csv", "lowest.npy", "mean.npy"} < set(visible(here))


def test_what_a_damaged_input_leaves_is_scored(here):
    media.corrupt(FOOTAGE, here / "in.mp4", 0.5)
    with pytest.raises(DamagedInputError) as caught:
        run(job(input="in.mp4", frames=None, scores={"path": "s.csv"}))
    with Path("s.partial.csv").open(newline="") as file:
        n_lines = len(list(csv.DictReader(file)))
    assert f"{n_lines} maps are kept" in str(caught.value)
    assert not Path("s.csv").exists()


@pytest.mark.parametrize("name", ["s.csv", "lowest.npy"])
def test_verifying_compares_the_results_too(here, name):
    run(job(scores={"path": "s.csv", **CLIP_MAPS}))
    assert not verify("out.npy").problems
    content = bytearray(Path(name).read_bytes())
    content[-2] ^= 1
    Path(name).write_bytes(content)
    (problem,) = verify("out.npy").problems
    assert name in problem
    assert "does not hold what was written" in problem
    Path(name).unlink()
    (problem,) = verify("out.npy").problems
    assert "does not exist" in problem


def test_the_summary_names_the_worst_frame_of_each_score(here):
    report = run(job(scores=named_regions()))
    head = read_sidecar(report.sidecar)
    rows, summary = head["frames"], head["summary"]
    for name, found in summary["scores"].items():
        values = [(row[name], row) for row in rows if row[name] is not None]
        assert found["mean"] == (pytest.approx(np.mean([value for value, _ in values])) if values else None)
        if not values:
            continue
        how_bad = {"share_below": float, "sharpness_ratio": lambda v: abs(np.log(v)), "gain": lambda v: abs(np.log(v))}
        worst, row = max(values, key=lambda pair: how_bad.get(name, lambda v: -v)(pair[0]))
        assert found["worst"] == {"index": row["index"], "pts_seconds": row["pts_seconds"], "value": worst}
    assert report.lowest == summary["scores"]["mean_confidence"]["worst"]
    below = sum(row["mean_confidence"] < 0.5 for row in rows)
    assert report.n_below == summary["frames_below_threshold"] == below
    eye = [row["regions"]["left_eye"]["mean"] for row in rows]
    assert summary["regions"]["left_eye"]["mean"]["worst"]["value"] == min(eye)
    means = {name: [row["regions"][name]["mean"] for row in rows] for name in ("left_eye", "mouth")}
    for name, values in means.items():
        assert summary["regions"][name]["frames_below_threshold"] == sum(value < 0.5 for value in values)
    assert summary["regions"]["nothing"]["frames_below_threshold"] == 0
    worst = min(means, key=lambda name: min(means[name]))
    assert report.worst_region == {
        "name": worst,
        **summary["regions"][worst]["mean"]["worst"],
        "n_below": summary["regions"][worst]["frames_below_threshold"],
    }


def test_a_dry_run_says_where_results_go(here):
    described = describe(job(scores=named_regions(path="new/s.csv")))
    assert described["scores"] == str(here / "new/s.csv")
    assert described["regions"]["mouth"] == {"label": 2, "n_pixels": 2400}
    assert names(here) == ["regions.png"]


MISTAKES = {
    "another format": ({"path": "s.txt"}, r"scores\.path: 's\.txt' must end in one of \.csv, \.jsonl"),
    "a video of one map": ({"temporal_mean": "m.mkv"}, r"scores\.temporal_mean: 'm\.mkv' must end in one of \.npy"),
    "a number": ({"temporal_mean": "m_%d.png"}, r"scores\.temporal_mean 'm_%d\.png' is one picture: .*no frame number"),
    "names of nothing": ({"region_names": ["1=eye"]}, r"region_names needs regions"),
    "no label": (named_regions(region_names="eye"), r"region_names: must be label=name, such as 1=left_eye,.*'eye'"),
    "a large label": (named_regions(region_names="70000=a"), r"the label from 0 to 65535.*'70000=a'"),
    "a comma": (named_regions(region_names="1=a.b"), r"'1=a\.b'"),
    "a label twice": (named_regions(region_names="1=a,1=b"), r"has a label or a name twice: 1=a, 1=b"),
    "a name twice": (named_regions(region_names="1=a,2=a"), r"has a label or a name twice: 1=a, 2=a"),
    "absent": ({"regions": "absent.png"}, r"^scores\.regions: picture 'absent\.png' does not exist"),
    "small": ({"regions": "small.png"}, r"^scores\.regions: 'small\.png' is 30 x 20 pixels, the reference 176 x 144"),
    "colours": ({"regions": "colours.png"}, r"^scores\.regions: picture 'colours\.png' is in colour, so its labels"),
    "black": ({"regions": "black.png"}, r"^scores\.regions: 'black\.png' has no label above 0"),
    "many": ({"regions": "many.npy"}, r"^scores\.regions: 'many\.npy' has \d+ labels, and 255 regions can be scored"),
    "exists": ({"path": "old.csv"}, r"^scores 'old\.csv' exists; give --overwrite to replace it"),
    "clip map exists": ({"temporal_mean": "black.png"}, r"^temporal_mean 'black\.png' exists"),
    "itself": (
        {"regions": "regions.png", "temporal_mean": "./regions.png"},
        r"^temporal_mean 'regions\.png' is the scores\.regions itself",
    ),
    "the output": ({"temporal_mean": "./out.npy"}, r"^temporal_mean 'out\.npy' is the output itself"),
    "twice": ({"temporal_minimum": "a.npy", "temporal_mean": "a.npy"}, r"^temporal_mean 'a\.npy' is the temporal_min"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake, here):
    options, message = MISTAKES[mistake]
    Path("old.csv").write_text("old")
    rng = np.random.default_rng(0)
    Image.fromarray(np.ones((20, 30), np.uint8)).save("small.png")
    Image.fromarray(rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)).save("colours.png")
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save("black.png")
    np.save("many.npy", np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE))
    before = names(here)
    with pytest.raises(SpecError, match=message) as caught:
        run(job(scores=options))
    assert "\n" not in str(caught.value)
    assert names(here) == before


def test_paths_in_a_config_are_relative_to_it(here):
    Path("job.toml").write_text(
        f"input = '{FOOTAGE}'\noutput = 'o/out.npy'\nreference = 0\nframes = '0:2'\n"
        "[scores]\npath = 'o/s.csv'\nregions = 'regions.png'\nregion_names = ['1=left_eye']\n"
        "temporal_minimum = 'o/low.npy'\n"
    )
    result = command("run", "--config", here / "job.toml", "-q", cwd="/")
    assert result.returncode == 0, result.stderr
    assert names(here / "o") == ["low.npy", "out.npy", "out.npy.json", "s.csv"]
