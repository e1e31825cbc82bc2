"""``python -m benchmarks [NAME...]`` measures; ``python -m benchmarks compare A B`` compares two commits."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks import compare, limits
from benchmarks.tables import Findings, Options, machine, machine_facts, parse_size, positive, publish, say

# Names of modules. Each has a function measure(options) -> Findings, and DEFAULTS for options that are not given.
BENCHMARKS = {
    "kernels": "the map of one frame beside OpenCV, SciPy, scikit-image and a parallel copy",
    "options": "radii, dtypes, masks, validity, codes and scores beside one another",
    "peers": "other packages that correlate windows or compute SSIM",
    "scaling": "1 to N threads; 1080p, 4K and 8K",
    "sampling": "warping one frame, beside OpenCV and SciPy",
    "runs": "whole runs beside ffmpeg decoding and encoding; own CPU time and peak memory",
    "flow": "a whole run with optical flow beside the sum of its parts",
    "startup": "the first run ever, the second, and --help",
    "preview": "what a preview costs",
    "reliability": "what segments and reading back cost",
    "usefulness": "how well the confidence finds wrong flow (nothing is timed)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["compare"]:
        return compare.main(words[1:])
    options = parse(words)
    figures: dict[str, float] = {}
    for name in options.names or BENCHMARKS:
        say(f"== {name}")
        module = import_module(f"benchmarks.{name}")
        found: Findings = module.measure(Options.from_arguments(options, module.DEFAULTS))
        for table_name, text in found.tables.items():
            publish(table_name, text, options.write)
            print()
        figures |= found.figures
    packages = ("numba", "numpy", "opencv-python", "imageio-ffmpeg")
    if bounds := limits.limits_table(figures):
        # A part of the benchmarks measures a part of the bounds, and must not replace the whole table.
        publish("limits", f"{bounds}\n\n{machine(*packages)}.", None if options.names else options.write)
    if options.json is not None:
        report = {"machine": machine_facts(*packages), "limits": limits.as_json(figures), "figures": figures}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    listed = "\n".join(f"  {name:12} {text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure, and show every bound beside what was measured.",
        epilog=f"benchmarks:\n{listed}\n\npython -m benchmarks compare A B compares two commits.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--size", type=parse_size, default=parse_size("1920x1080"), metavar="WxH", help="1920x1080")
    parser.add_argument("--threads", type=positive, default=2, help="threads to use; default: %(default)s")
    parser.add_argument("--rounds", type=positive, help="default: each benchmark's own")
    parser.add_argument("--frames", type=positive, nargs="+", help="lengths of clips; default: each benchmark's own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures and bounds to FILE")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=Path(__file__).resolve().parents[1],
        metavar="FOLDER",
        help="also put the tables between their markers in README.md and docs/ of FOLDER (default: this repository)",
    )
    options = parser.parse_args(words)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose from {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
