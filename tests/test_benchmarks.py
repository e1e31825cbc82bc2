"""The benchmarks run, tiny, and print their tables. Nothing here depends on how long anything takes."""

import argparse
import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import ROOT, load_benchmarks, rows, run_benchmark, tables

TINY = ("--size", "96x64", "--rounds", "2")

needs_peers = pytest.mark.skipif(
    find_spec("cv2") is None or find_spec("scipy") is None, reason="the peers, OpenCV and SciPy, are not installed"
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    return load_benchmarks(monkeypatch)


@pytest.mark.slow
@needs_peers
def test_kernels_prints_a_row_for_every_case_and_writes_the_same_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    markers = "before\n<!-- benchmark:kernels -->\n{}\n<!-- /benchmark:kernels -->\nafter\n"
    readme.write_text(markers.format("old"))
    result = run_benchmark("kernels", *TINY, "--threads", 1, "--write", tmp_path)
    assert result.returncode == 0, result.stderr
    (head, *body), (_, *bounds) = tables(result.stdout)
    assert head[:3] == ["96 x 64, threads: 1", "framencc", "copy"]
    cases = [*(f"uint8, r = {radius}" for radius in (1, 3, 5, 9, 10, 18, 31)), "uint16, r = 3", "float32, r = 3"]
    assert [row[0] for row in body] == cases
    for row in body:
        assert len(row) == len(head) == 7
        assert row[1].endswith(" ms")
        assert all(cell.endswith(" x)") for cell in row[2:])
    assert [row[0].partition(" recipe")[0] for row in bounds] == ["OpenCV", "OpenCV", "SciPy"]
    written = readme.read_text()
    assert written.startswith("before\n<!-- benchmark:kernels -->\n| 96 x 64, threads: 1 |")
    assert rows(written) == [head, *body]
    assert written.endswith("<!-- /benchmark:kernels -->\nafter\n")


@pytest.mark.slow
@needs_peers
def test_options_prints_a_row_for_every_case_and_its_bounds(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = run_benchmark("options", *TINY, "--json", report)
    assert result.returncode == 0, result.stderr
    (head, *body), (_, *bounds) = tables(result.stdout)
    assert head == ["96 x 64, threads: 2", "framencc", "ratio"]
    names = [row[0] for row in body]
    assert names[0] == "a parallel copy of 14 bytes a pixel"
    assert names[-1] == "uint8, r = 3, map, codes, validity and scores"
    assert len(names) == len(set(names)) == 18
    assert [row[2].partition(" x ")[2] for row in body[:3]] == ["(uint8, r = 3)", "(copy)", "(copy)"]
    assert len(bounds) == 8
    found = json.loads(report.read_text())
    assert {"system", "cores", "processor", "versions"} == set(found["machine"])
    measured = [limit for limit in found["limits"] if limit["measured"] is not None]
    assert [limit["what"] for limit in measured] == [row[0] for row in bounds]
    assert [{True: "yes", False: "no"}[limit["met"]] for limit in measured] == [row[3] for row in bounds]
    assert all(found["figures"][limit["figure"]] == limit["measured"] for limit in measured)


@pytest.mark.slow
@needs_peers
def test_peers_prints_a_row_for_every_package_installed_or_not() -> None:
    result = run_benchmark("peers", *TINY)
    assert result.returncode == 0, result.stderr
    (_, *body), *_ = tables(result.stdout)
    assert [row[0].partition(",")[0] for row in body] == [
        *("framencc", "Fast-SSIM", "blazediff-ssim", "frame-analytics' CPU library", "dipy", "pandora")
    ]
    packages = [None, "fast_ssim", "blazediff_ssim", "frame_analytics", "dipy", "pandora"]
    for row, package in zip(body, packages, strict=True):
        assert row[3].endswith(" ms" if package is None or find_spec(package) else "not installed")


@pytest.mark.slow
def test_scaling_prints_threads_and_sizes() -> None:
    result = run_benchmark("scaling", *TINY)
    assert result.returncode == 0, result.stderr
    (threads, *counts), (sizes, *pictures), _ = tables(result.stdout)
    assert threads[0] == "threads, 96 x 64"
    assert [row[0] for row in counts] == [str(n) for n in range(1, (os.cpu_count() or 1) + 1)]
    assert counts[0][2:4] == ["1.00 x", "100%"]
    assert sizes[0] == "sizes, threads: 2"
    assert [row[0] for row in pictures] == ["96 x 64", "192 x 128", "384 x 256"]


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
def test_runs_prints_both_runs_of_every_length_with_cpu_time_and_memory() -> None:
    result = run_benchmark("runs", "--size", "96x64", "--rounds", 1, "--frames", 5, 9)
    assert result.returncode == 0, result.stderr
    head, *body = rows(result.stdout)
    assert head[:4] == ["96 x 64", "frames", "seconds", "frames/s"]
    assert [(row[0].partition(":")[0], row[1]) for row in body] == [
        *(("framencc run", "5"), ("ffmpeg alone", "5"), ("framencc run", "9"), ("ffmpeg alone", "9"))
    ]
    for ours, ffmpeg in (body[:2], body[2:]):
        assert float(ours[2]) > 0
        assert ours[5].endswith(" ms")
        assert ours[6].endswith(" MB") == (sys.platform == "linux")
        assert ffmpeg[4:7] == ["1.00", "", ""]


@pytest.mark.slow
def test_startup_prints_first_and_second_runs() -> None:
    result = run_benchmark("startup", "--size", "96x64", "--rounds", 1)
    assert result.returncode == 0, result.stderr
    (_, *body), (_, *bounds) = tables(result.stdout)
    assert [row[0] for row in body[:3]] == [
        *("`python -c pass`", "`python -c 'import numba, scipy, skimage'`", "`framencc --help`")
    ]
    assert [row[0].partition(",")[0] for row in body[3:]] == [
        *["`framencc run`"] * 2,
        *["`framencc run --config faces_flow.toml`"] * 2,
    ]
    first, second = (float(row[1].removesuffix(" s")) for row in body[3:5])
    assert first > second  # kernels are compiled by one and read by the other: a matter of seconds
    assert len(bounds) == 3


@pytest.mark.slow
def test_reliability_prints_what_each_guarantee_costs() -> None:
    result = run_benchmark("reliability", "--size", "96x64", "--rounds", 1, "--frames", 9)
    assert result.returncode == 0, result.stderr
    names = [row[0] for row in rows(result.stdout)]
    assert names[:4] == [
        *("9 frames of 96 x 64", "framencc --no-verify, one segment", "framencc --no-verify", "framencc")
    ]


@pytest.mark.slow
def test_preview_prints_what_each_style_costs() -> None:
    result = run_benchmark("preview", "--size", "96x64", "--rounds", 1, "--frames", 5)
    assert result.returncode == 0, result.stderr
    styles = [f"with a preview, {style}" for style in ("gray", "heat", "overlay", "panel")]
    assert [row[0] for row in rows(result.stdout)] == ["5 frames of 96 x 64", "framencc", *styles]


@pytest.mark.slow
@needs_peers
def test_flow_prints_the_run_beside_its_parts() -> None:
    result = run_benchmark("flow", "--size", "96x64", "--rounds", 1, "--frames", 4)
    assert result.returncode == 0, result.stderr
    table = rows(result.stdout)
    assert [row[0] for row in table] == [
        "4 frames of 96 x 64",
        "ffmpeg decodes the gray plane",
        "OpenCV DIS, preset fast, there and back",
        "ffmpeg encodes the maps as FFV1",
        "sum of the parts",
        "framencc run: decode, flow, warp, correlate, score, encode",
    ]
    assert float(table[-1][2]) > 0


def test_the_noise_of_a_median(load) -> None:
    noise = load("timing").noise
    assert noise([2.0] * 5) == 0
    assert noise([1.0]) == math.inf
    # The 95 % interval of a normal sample's median is 1.96 * 1.2533 / sqrt(n) wide to either side.
    values = np.random.default_rng(0).normal(size=10000)
    assert noise(values.tolist()) == pytest.approx(1.96 * 1.2533 / 100, rel=0.2)


def test_bounds_are_met_from_one_side_only(load) -> None:
    limits = load("limits")
    at_most, at_least = limits.Limit("a", "a", 2.0), limits.Limit("b", "b", 8.0, at_least=True)
    assert (at_most.is_met(1.9), at_most.is_met(2.0), at_most.is_met(2.1)) == (True, True, False)
    assert (at_least.is_met(7.9), at_least.is_met(8.0), at_least.is_met(9.0)) == (False, True, True)
    assert not at_most.is_met(math.nan)
    assert not at_least.is_met(math.nan)


def test_the_table_of_bounds_shows_what_was_measured(load) -> None:
    limits = load("limits")
    assert limits.limits_table({}) == ""
    first, *others = limits.LIMITS
    text = limits.limits_table({first.figure: first.bound + 1, others[-1].figure: others[-1].bound / 2})
    (_, *body) = rows(text)
    assert [(row[0], row[3]) for row in body] == [(first.what, "no"), (others[-1].what, "yes")]
    report = limits.as_json({first.figure: first.bound + 1})
    assert [entry["what"] for entry in report] == [limit.what for limit in limits.LIMITS]
    assert [entry["met"] for entry in report] == [False, *[None] * len(others)]


def test_a_process_tells_its_own_cpu_time_from_its_childrens(load) -> None:
    usage = load("processes").run_framencc("--version")
    assert 0 < usage.own_cpu < 60
    assert usage.children_cpu < 1
    if sys.platform == "linux":
        assert 5e6 < usage.peak_bytes < 1e9
    with pytest.raises(AssertionError, match="ended with 2"):
        load("processes").run_framencc("run")


def test_other_threads_wait_passively_unless_the_user_decides() -> None:
    program = "import benchmarks, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'numba' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for given, expected in (({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")):
        result = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment | given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == [expected, "False"]


def test_an_unknown_benchmark_is_refused() -> None:
    result = run_benchmark("kernel")
    assert result.returncode == 2
    assert "there is no benchmark 'kernel'; choose from kernels, options," in result.stderr


@needs_peers
def test_our_confidence_tells_wrong_flow_better_than_every_other_does(load) -> None:
    usefulness = load("usefulness")
    found = {case.name: usefulness.measure_case(case) for case in usefulness.cases()}
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
    use = options.ellipse(96, 64, 0.8)
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
