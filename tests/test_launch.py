"""Kernels under threads, forks and in other processes, in every threading layer: the same bits, and no deadlock."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import python

from framencc.kernels.launch import count_bands

SCENARIOS = Path(__file__).with_name("launch_scenarios.py")
FORKS = (
    "fork_after_use",
    "fork_before_use",
    "fork_while_computing",
    "fork_while_compiling",
    "fork_that_is_interrupted",
)
SIGNALS = ("interrupts", "handlers_that_compute")

pytestmark = pytest.mark.timeout(290)  # much of it for the compiler, where nothing is on disk


@functools.cache
def has_layer(name: str) -> bool:
    return python("import numba; numba.set_num_threads(1)", NUMBA_THREADING_LAYER=name).returncode == 0


@pytest.fixture(params=["workqueue", "omp", "tbb"])
def layer(request) -> str:
    if not has_layer(request.param):
        pytest.skip(f"Numba cannot load its {request.param} layer here")
    return request.param


def run(scenario: str, layer: str) -> subprocess.CompletedProcess[str]:
    environment = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive"}
    words = [sys.executable, str(SCENARIOS), scenario]
    return subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.parametrize("scenario", ["at_once", "dask_threads", *FORKS, *SIGNALS, "other_processes", "host"])
def test_kernels_give_the_bits_of_one_thread(scenario: str, layer: str) -> None:
    if scenario == "dask_threads":
        pytest.importorskip("dask")
    if scenario in (*FORKS, *SIGNALS) and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    result = run(scenario, layer)
    assert result.returncode == 0, result.stderr


def test_a_process_may_end_while_a_thread_computes(layer: str) -> None:
    result = run("end_while_computing", layer)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("height", "threads", "options", "expected"),
    [
        (1080, 2, {}, 8),
        (1080, 1, {}, 4),
        (1080, 64, {}, 33),  # none has fewer than 32 rows
        (40, 8, {}, 1),
        (1, 8, {}, 1),
        (1080, 2, {"smallest": 500}, 2),
        (1080, 2, {"multiple": 400}, 3),  # more would be empty
    ],
)
def test_a_picture_is_cut_into_bands(height: int, threads: int, options: dict[str, int], expected: int) -> None:
    assert count_bands(height, threads, **options) == expected
