"""What the tests of benchmarks/ share: the command, its tables, and its modules, which are not installed."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(ROOT)
    for name, value in (("OMP_WAIT_POLICY", "passive"), ("NUMBA_THREADING_LAYER", "workqueue")):
        monkeypatch.setenv(name, value)  # benchmarks sets both for its own process; here they must not outlive a test
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def run_benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows(markdown: str) -> list[list[str]]:
    """The cells of every table row, heads included, rules left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "---"]


def tables(markdown: str) -> list[list[list[str]]]:
    """The rows of every table."""
    parts = [rows(part) for part in markdown.split("\n\n")]
    return [part for part in parts if part]
