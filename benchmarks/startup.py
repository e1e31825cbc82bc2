"""The first run ever (empty cache), the second run, and ``--help``, beside the imports of three packages."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.clip import make_clip
from benchmarks.flow import CONFIG
from benchmarks.processes import run_framencc, run_process
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, time_side_by_side

DEFAULTS = {"rounds": 3, "frames": (5,)}
IMPORTS = "`python -c 'import numba, scipy, skimage'`"
HELP, NOTHING = "`framencc --help`", "`python -c pass`"
FIRST, SECOND = "`framencc run`, nothing compiled yet", "`framencc run`, compiled kernels on disk"
FIRST_FLOW, SECOND_FLOW = (f"{name.replace('run`', 'run --config faces_flow.toml`')}" for name in (FIRST, SECOND))
FIGURES = {
    "first_s": FIRST,
    "second_s": SECOND,
    "first_flow_s": FIRST_FLOW,
    "second_flow_s": SECOND_FLOW,
    "help_s": HELP,
    "imports_s": IMPORTS,
}


def measure(options: Options) -> Findings:
    n_frames = options.frames[0]
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        clip = make_clip(Path(folder), *options.size, n_frames)
        timings = time_starts(clip, Path(folder), options)
    say(describe(timings, IMPORTS))
    imports = timings[IMPORTS]
    rows = [[name, f"{timing.median:.2f} s", f"{timing.median_ratio(imports):.2f}"] for name, timing in timings.items()]
    head = [f"whole processes; runs over {n_frames} frames of {options.shape}", "time", "over the imports"]
    figures = {f"startup/{key}": timings[name].median for key, name in FIGURES.items()}
    return Findings({"startup": f"{table(head, rows)}\n\n{caption(options, 'numba')}"}, figures)


def time_starts(clip: Path, folder: Path, options: Options) -> dict[str, Timing]:
    """Start everything in turn; each first run finds an empty cache, and fills it for the second."""
    caches: dict[bool, str] = {}
    words = ("run", clip, folder / "maps.mkv", "--reference", 0, "--threads", options.threads, "--overwrite", "--quiet")

    def start(*, empty: bool, flow: bool) -> Callable[[], object]:
        def run() -> None:
            if empty:
                caches[flow] = tempfile.mkdtemp(dir=folder)
            environment = {"NUMBA_CACHE_DIR": caches[flow], "FRAMENCC_CACHE": "1"}
            run_framencc(*words, *(("--config", CONFIG) if flow else ()), environment=environment)

        return run

    candidates: dict[str, Callable[[], object]] = {
        NOTHING: lambda: run_process([sys.executable, "-c", "pass"]),
        IMPORTS: lambda: run_process([sys.executable, "-c", "import numba, scipy, skimage"]),
        HELP: lambda: run_process([sys.executable, "-m", "framencc", "--help"]),
        FIRST: start(empty=True, flow=False),
        SECOND: start(empty=False, flow=False),
        FIRST_FLOW: start(empty=True, flow=True),
        SECOND_FLOW: start(empty=False, flow=True),
    }
    for name in (NOTHING, IMPORTS, HELP):  # their files are in memory from now on
        candidates[name]()
    return time_side_by_side(candidates, options.rounds, warm_ups=0)
