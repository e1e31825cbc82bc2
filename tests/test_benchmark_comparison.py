"""`python -m benchmarks compare` tells which of two commits is slower."""

import shutil
from pathlib import Path

import pytest
from benchmark_runs import ROOT, load_benchmarks, rows, run_benchmark


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    return load_benchmarks(monkeypatch)


@pytest.mark.slow
def test_compare_measures_two_folders_and_tells_which_is_slower(tmp_path: Path) -> None:
    """B is A with a pause in its public function."""
    shutil.copytree(ROOT / "framencc", tmp_path / "framencc", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "framencc" / "ncc.py").open("a") as out:
        out.write(
            "\n\n_quick = Reference.ncc\n\n\ndef _slow(*given, **more):\n"
            "    import time\n    time.sleep(0.02)\n    return _quick(*given, **more)\n\n\nReference.ncc = _slow\n"
        )
    options = ("--size", "96x64", "--rounds", 5, "--cases", "uint8-r3")
    result = run_benchmark("compare", ".", tmp_path, *options)
    assert result.returncode == 1, result.stderr
    ((name, before, after, _, verdict),) = rows(result.stdout)[1:]
    assert (name, verdict) == ("uint8-r3", "slower")
    assert float(after.split()[0]) > 20 > float(before.split()[0])
    again = run_benchmark("compare", tmp_path, ".", *options)
    assert again.returncode == 0, again.stderr
    assert rows(again.stdout)[1][4] == "faster"


def test_compare_refuses_what_is_no_commit(load, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="'nothing-of-the-sort' is neither a commit nor a folder"):
        load("compare").lay_out("nothing-of-the-sort", tmp_path / "a")


def test_verdicts_need_a_tenth_and_more_than_the_noise(load) -> None:
    comparison = load("compare").Comparison
    one = (1.0,) * 9
    assert comparison("", one, (1.2,) * 9).verdict == "slower"
    assert comparison("", one, (1.05,) * 9).verdict == "same"
    assert comparison("", one, (0.8,) * 9).verdict == "faster"
    scattered = (0.5, 0.8, 1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0)
    assert comparison("", one, scattered).verdict == "too noisy"
    assert comparison("", (1.0,), (1.2,)).verdict == "too noisy"  # nothing is known of the noise
    assert comparison("", (1.0, 2.0), (3.0, 8.0)).ratios == (3.0, 4.0)
