"""Whole commands as processes: their wall time, their own CPU time beside their children's, and their peak memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# The command as `framencc` starts it, and what it has cost when it ends. Only Linux tells the peak memory.
_PROGRAM = """
import json, os, sys
facts = sys.argv.pop(1)
from framencc.cli import main
code = main()
times, peak = os.times(), None
try:
    with open("/proc/self/status") as lines:
        peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
except OSError:
    pass
with open(facts, "w") as out:
    json.dump([times.user + times.system, times.children_user + times.children_system, peak], out)
sys.exit(code)
"""


@dataclass(frozen=True)
class Usage:
    """What one process has cost.

    `own_cpu` is that of the process itself, `children_cpu` of all its children that have ended (ffmpeg), both in
    seconds; `peak_bytes` is the greatest resident size of the process itself, None where it is not known.
    """

    seconds: float
    own_cpu: float
    children_cpu: float
    peak_bytes: int | None


def run_framencc(*arguments: object, environment: Mapping[str, str] | None = None) -> Usage:
    """Run the command to its end."""
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        facts = Path(folder) / "facts.json"
        words = [sys.executable, "-c", _PROGRAM, str(facts), *map(str, arguments)]
        seconds = run_process(words, environment=environment)
        own, children, peak = json.loads(facts.read_text(encoding="utf-8"))
    return Usage(seconds, own, children, peak)


def run_process(words: Sequence[str], *, environment: Mapping[str, str] | None = None) -> float:
    """Run a process to its end, and return the seconds that took."""
    given = os.environ | dict(environment or {})
    started = time.perf_counter()
    result = subprocess.run(words, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(words[-4:])} ended with {result.returncode}: {result.stderr[-2000:]}")
    return seconds


class Recorded:
    """A command that can be timed again and again, and keeps what each run has cost."""

    def __init__(self, run: Callable[[], Usage]) -> None:
        self._run = run
        self.usages: list[Usage] = []

    def __call__(self) -> None:
        self.usages.append(self._run())

    def own_cpu(self) -> float:
        return median(usage.own_cpu for usage in self.usages)

    def all_cpu(self) -> float:
        return median(usage.own_cpu + usage.children_cpu for usage in self.usages)

    def peak_megabytes(self) -> float | None:
        peaks = [usage.peak_bytes for usage in self.usages if usage.peak_bytes is not None]
        return max(peaks) / 1e6 if peaks else None
