"""``python -m benchmarks compare A B``: is B slower than A? Each is a commit, or a folder that holds framencc/.

The benchmarks of this working tree measure both. Each side has its own copy of the package, its own process and its own
folder of compiled kernels, and only their public interface is used. A and B take turns, the first of a round being A
and B by turns; a case counts as changed where the median of the rounds' ratios is off by a tenth or more and that is
more than the noise of the median.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.clip import make_clip
from benchmarks.compare_worker import CASES, RUNS
from benchmarks.tables import machine, parse_size, positive, say, table
from benchmarks.timing import noise

ROOT = Path(__file__).resolve().parents[1]
CHANGED = 0.10


@dataclass(frozen=True)
class Comparison:
    """The seconds of one case on both sides, round by round."""

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(after / before for before, after in zip(self.before, self.after, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def noise(self) -> float:
        return noise(self.ratios)

    @property
    def verdict(self) -> str:
        """Say whether B is slower or faster; where the noise hides a change, say that."""
        if self.ratio >= 1 + CHANGED and self.ratio - self.noise > 1:
            return "slower"
        if self.ratio <= 1 / (1 + CHANGED) and self.ratio + self.noise < 1:
            return "faster"
        return "too noisy" if self.noise > CHANGED else "same"


def main(words: Sequence[str]) -> int:
    """Compare two commits; return 1 when something became slower, else 0."""
    options = parse(words)
    with tempfile.TemporaryDirectory(prefix="framencc-compare-") as folder:
        trees = [lay_out(side, Path(folder) / name) for side, name in ((options.a, "a"), (options.b, "b"))]
        clip = None
        if set(options.cases) & set(RUNS):
            clip = make_clip(Path(folder), *options.size, options.frames)
        comparisons = compare(trees, clip, options)
    rows = [
        [
            one.name,
            *(f"{1000 * statistics.median(side):.3g} ms" for side in (one.before, one.after)),
            f"{one.ratio:.3f} +- {one.noise:.3f}",
            one.verdict,
        ]
        for one in comparisons
    ]
    print(table([f"{options.size[0]} x {options.size[1]}", options.a, options.b, "B over A", "B is"], rows))
    print(f"\nMedians of interleaved rounds, threads: {options.threads}. {machine('numba')}.")
    return int(any(one.verdict == "slower" for one in comparisons))


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("a", metavar="A", help="a commit, or a folder that holds framencc/ (. is this working tree)")
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--size", type=parse_size, default=parse_size("1920x1080"), metavar="WxH", help="1920x1080")
    parser.add_argument("--threads", type=positive, default=2, help="default: %(default)s")
    parser.add_argument("--rounds", type=positive, default=21, help="rounds of a kernel; default: %(default)s")
    parser.add_argument("--run-rounds", type=positive, default=5, help="rounds of a whole run; default: %(default)s")
    parser.add_argument("--frames", type=positive, default=60, help="frames of a whole run; default: %(default)s")
    return parser.parse_args(words)


def lay_out(side: str, folder: Path) -> Path:
    """Bring the package of one side into a folder of its own, so that nothing changes it meanwhile."""
    folder.mkdir()
    given = Path(side)
    if (given / "framencc").is_dir():
        shutil.copytree(given / "framencc", folder / "framencc", ignore=shutil.ignore_patterns("__pycache__"))
        return folder
    result = subprocess.run(["git", "-C", str(ROOT), "archive", side, "framencc"], capture_output=True, check=False)
    if result.returncode != 0:
        reason = result.stderr.decode(errors="replace").strip()
        raise SystemExit(f"{side!r} is neither a commit nor a folder that holds framencc/: {reason}")
    with tarfile.open(fileobj=BytesIO(result.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def compare(trees: Sequence[Path], clip: Path | None, options: argparse.Namespace) -> list[Comparison]:
    """Let both sides measure every case in turn."""
    given = {"size": options.size, "threads": options.threads, "clip": clip and str(clip)}
    with contextlib.ExitStack() as cleanup:
        workers = [cleanup.enter_context(Worker(tree, given)) for tree in trees]
        return [compare_case(name, workers, options) for name in options.cases]


def compare_case(name: str, workers: Sequence["Worker"], options: argparse.Namespace) -> Comparison:
    rounds = options.run_rounds if name in RUNS else options.rounds
    for worker in workers:
        worker.measure(name)  # compiles, and fills the caches
    seconds: list[list[float]] = [[], []]
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for side in order:
            seconds[side].append(workers[side].measure(name))
    found = Comparison(name, tuple(seconds[0]), tuple(seconds[1]))
    say(f"{name}: {found.ratio:.3f} +- {found.noise:.3f}, {found.verdict}")
    return found


class Worker:
    """A process that measures one side, a case at a time; while it is not asked it does nothing."""

    def __init__(self, tree: Path, given: dict[str, Any]) -> None:
        # The side's package comes first; everything else of the benchmarks is this working tree's.
        path = os.pathsep.join([str(tree), str(ROOT)])
        cache = tree / "compiled"
        environment = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache), "FRAMENCC_CACHE": "1"}
        words = [sys.executable, "-P", "-m", "benchmarks.compare_worker", json.dumps(given)]
        self._process = subprocess.Popen(
            words, env=environment, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        found = Path(self._answer()["package"])
        if not found.is_relative_to(tree.resolve()):
            self.__exit__()
            raise AssertionError(f"{found} was imported, not the package in {tree}")

    def measure(self, name: str) -> float:
        """Return the seconds that a case took."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"a side failed with exit code {self._process.wait()}; its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
