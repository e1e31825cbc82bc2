"""The benchmarks run, tiny, and print their tables. Nothing here depends on how long anything takes."""

import argparse
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TINY = ("--size", "96x64", "--rounds", "2")

needs_peers = pytest.mark.skipif(
    find_spec("cv2") is None or find_spec("scipy") is None, reason="the peers, OpenCV and SciPy, are not installed"
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import modules of benchmarks/, which is not installed."""
    monkeypatch.syspath_prepend(ROOT)

    def load_module(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return load_module


def run_benchmark(name: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows(markdown: str) -> list[list[str]]:
    """The cells of every table row, heads included, rules left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "---"]


@pytest.mark.slow
@needs_peers
def test_kernels_prints_a_row_for_every_case_and_writes_the_same_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    markers = "before\n<!-- benchmark:kernels -->\n{}\n<!-- /benchmark:kernels -->\nafter\n"
    markers += "<!-- benchmark:options -->\n{}\n<!-- /benchmark:options -->\nend\n"
    document.write_text(markers.format("old", "old"))
    result = run_benchmark("kernels", *TINY, "--threads", 1, "--write", document)
    assert result.returncode == 0, result.stderr
    begin = result.stdout.rindex("| 96 x 64")
    peers, options = result.stdout[:begin], result.stdout[begin:]
    head, *body = rows(peers)
    assert head[:2] == ["96 x 64, threads: 1", "framencc"]
    assert [row[0] for row in body] == [
        *(f"uint8, r = {radius}" for radius in (1, 3, 5, 10, 31)),
        "uint16, r = 3",
        "float32, r = 3",
    ]
    for row in body:
        assert len(row) == len(head) == 6
        assert row[1].endswith(" ms")
        assert all(cell.endswith(" x)") for cell in row[2:])
    head, *body = rows(options)
    assert head == ["96 x 64, threads: 1", "framencc", "ratio"]
    assert [row[0] for row in body] == [
        "uint8, r = 3",
        "uint16, r = 3",
        "float32, r = 3",
        "uint8, r = 3, with a mask",
        "uint8, r = 3, with a mask for each frame",
        "uint8 RGB, r = 3, joint",
        "uint8, r = 3, 5 and 10, mean",
        "uint8, r = 3, 5 and 10, min",
        "uint8, r = 1",
        "uint8, r = 31",
    ]
    assert [row[2].partition(" x ")[2] for row in body] == ["(uint8, r = 3)"] * 9 + ["(uint8, r = 1)"]
    assert document.read_text() == markers.format(peers.rstrip(), options.rstrip())


@pytest.mark.slow
@needs_peers
def test_sampling_prints_a_row_for_every_case() -> None:
    result = run_benchmark("sampling", *TINY, "--threads", 1)
    assert result.returncode == 0, result.stderr
    head, *body = rows(result.stdout)
    assert head == ["96 x 64, threads: 1", "framencc", "OpenCV", "SciPy"]
    assert [row[0] for row in body] == [
        *(f"field, linear, {kind}" for kind in ("uint8", "uint16", "float32", "uint8, 3 channels")),
        "affine matrix, linear, uint8",
        "homography, linear, uint8",
        "field, cubic, uint8",
        "field, nearest, uint8",
    ]
    for row in body:
        assert row[1].endswith(" ms")
        assert row[2].endswith(" x)")
        assert row[3].endswith(" x)") or (row[3], row[0]) == ("-", "field, cubic, uint8")


@needs_peers
def test_a_wrong_sample_is_not_timed(load) -> None:
    sampling = load("sampling")
    case, inside = sampling.CASES[0], np.ones((4, 4), bool)
    out, expected = np.full((1, 4, 4), 256, np.uint16), np.ones((1, 4, 4))
    sampling.check(case, "SciPy", out, expected, inside, 1e-4)
    for wrong in (expected + 0.1, np.full_like(expected, np.nan)):
        with pytest.raises(AssertionError, match="of full scale from SciPy"):
            sampling.check(case, "SciPy", out, wrong, inside, 1e-4)


@pytest.mark.slow
def test_pipeline_prints_both_runs_and_the_time_to_start() -> None:
    result = run_benchmark("pipeline", *TINY, "--frames", 5, "--startup-rounds", 1)
    assert result.returncode == 0, result.stderr
    table = rows(result.stdout)
    assert [row[0] for row in table] == [
        "5 frames of 96 x 64",
        "framencc: decode, correlate, encode",
        "ffmpeg alone: decode, encode the gray plane",
        "Starting",
        "`framencc --help`, whole process (median of 1)",
        "for comparison: `python -c pass` (median of 1)",
        "first uint8 `Reference(...).ncc(...)`, nothing compiled yet (median of 1)",
        "the same in a later process, compiled kernels on disk (median of 1)",
    ]
    assert [len(row) for row in table] == [5] * 3 + [2] * 5


@pytest.mark.slow
def test_reliability_prints_what_each_guarantee_costs() -> None:
    result = run_benchmark("reliability", *TINY, "--frames", 9, "--segment-frames", 4)
    assert result.returncode == 0, result.stderr
    assert [row[0].partition(":")[0] for row in rows(result.stdout)] == [
        "9 frames of 96 x 64",
        "one file, written straight",
        "framencc --no-verify",
        "framencc",
        "framencc --verify full",
    ]


@pytest.mark.slow
def test_preview_prints_what_each_style_costs() -> None:
    result = run_benchmark("preview", *TINY, "--frames", 5)
    assert result.returncode == 0, result.stderr
    styles = [f"with a preview, {style}" for style in ("gray", "heat", "overlay", "panel")]
    assert [row[0] for row in rows(result.stdout)] == ["5 frames of 96 x 64", "framencc", *styles]


@pytest.mark.slow
@needs_peers
def test_flow_prints_the_run_beside_its_parts() -> None:
    result = run_benchmark("flow", *TINY, "--frames", 4)
    assert result.returncode == 0, result.stderr
    table = rows(result.stdout)
    assert [row[0] for row in table] == [
        "4 frames of 96 x 64",
        "ffmpeg decodes the gray plane",
        "OpenCV DIS, preset fast",
        "ffmpeg encodes maps as FFV1",
        "sum of the parts",
        "framencc: decode, flow, warp, correlate, encode",
    ]
    assert float(table[-1][2]) > 0


@needs_peers
def test_our_confidence_tells_wrong_flow_better_than_every_other_does(load) -> None:
    usefulness = load("usefulness")
    found = {case.name: usefulness.measure(case) for case in usefulness.cases()}
    assert list(found) == ["motorcycle", "occluder", "gain", "noise", "blur"]
    every = [areas for _, areas in found.values()]
    means = {name: np.mean([areas[name] for areas in every]) for name in every[0]}
    assert min(means, key=means.get) == "ours"
    assert means["ours"] < 0.9 * sorted(means.values())[1]


def test_the_sparsification_area_of_known_orders(load) -> None:
    area = load("usefulness").sparsification_area
    error = np.random.default_rng(0).exponential(size=5000).astype(np.float32)
    assert area(-error, error) == 0
    assert area(error, error) > area(np.zeros_like(error), error) > 0
    # Without any knowledge the mean error stays as it is; with all of it, only the smallest errors remain.
    assert area(np.random.default_rng(1).random(5000), error) == pytest.approx(0.62, abs=0.1)


@pytest.mark.parametrize("size", ["96", "62x64", "97x64", "0x64", "axb"])
def test_a_size_that_cannot_be_measured_is_refused(load, size: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        load("tables").parse_size(size)


def test_candidates_take_turns_after_their_warm_up(load) -> None:
    calls: list[str] = []
    timings = load("timing").time_side_by_side(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warm_ups=1, settling_calls=1
    )
    assert calls == ["a", "a", "b", "b"] * 4
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]


def test_ratios_of_medians_and_pairwise(load) -> None:
    timing = load("timing").Timing
    base, other = timing((1.0, 2.0, 10.0)), timing((3.0, 4.0, 50.0))
    assert (other.median, other.minimum) == (4.0, 3.0)
    assert other.ratio_of_medians(base) == 2.0
    assert other.median_ratio(base) == 3.0


def test_a_document_without_its_markers_is_refused(load) -> None:
    for content in ("", "<!-- benchmark:a -->", "<!-- /benchmark:a --><!-- benchmark:a -->"):
        with pytest.raises(ValueError, match="no place for the table"):
            load("tables").replace_marked(content, "a", "text")


@needs_peers
def test_a_wrong_map_of_an_option_is_not_timed(load) -> None:
    options = load("options")
    reference, frame = load("pictures").textured_pair(96, 64, "uint8")
    use = options.ellipse(96, 64)
    for radius, mask in ((3, None), ((3, 5), None), (3, use)):
        radii = (radius,) if isinstance(radius, int) else radius
        good = np.mean([options.float64_map(reference, frame, each, mask) for each in radii], axis=0)
        options.check("good", good, reference, frame, radius, mask)
        for wrong in (good * 0.9, np.full(frame.shape, np.nan)):
            with pytest.raises(AssertionError, match="wrong: off by"):
                options.check("wrong", wrong, reference, frame, radius, mask)


@needs_peers
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_wrong_map_is_not_timed(load, dtype: str) -> None:
    reference, frame = load("pictures").textured_pair(96, 64, dtype)
    agreement = load("agreement")
    judge = agreement.make_judge(reference, frame, 3)
    good = np.zeros(frame.shape)
    good[3:-3, 3:-3] = judge.rho
    judge.check("good", good, tolerance=agreement.EXACT_TOLERANCE)
    judge.check("good", good, tolerance=agreement.FLOAT32_TOLERANCE)
    for wrong in (good * 0.9, np.full(frame.shape, np.nan)):
        for tolerance in (agreement.EXACT_TOLERANCE, agreement.FLOAT32_TOLERANCE):
            with pytest.raises(AssertionError, match="wrong, radius 3: off by"):
                judge.check("wrong", wrong, tolerance=tolerance)
