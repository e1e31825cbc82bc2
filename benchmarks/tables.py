"""Markdown tables, and putting them into a document between their markers."""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def publish(name: str, text: str, target: Path | None) -> None:
    """Print what a benchmark found; with a target, also put it there."""
    if target is not None:
        content = target.read_text(encoding="utf-8")
        target.write_text(replace_marked(content, name, text), encoding="utf-8")
    print(text)


def replace_marked(content: str, name: str, text: str) -> str:
    """Replace what stands between the markers of a benchmark; everything else is left as it is."""
    begin, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
    before, found_begin, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"no place for the table: {begin} and, after it, {end} are expected")
    return f"{before}{begin}\n{text}\n{end}{after}"


def machine(*packages: str) -> str:
    """Say what the figures were measured on."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_processor()}"
    installed = [f"{package} {installed_version(package)}" for package in packages]
    return f"{system}; " + ", ".join([f"Python {platform.python_version()}", *installed])


def installed_version(package: str) -> str:
    # OpenCV comes under several names.
    for name in (package, f"{package}-headless"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "(unknown)"


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return f" ({names[0]})" if names else ""


def option_parser(module: str, text: str | None, *, size: str, rounds: int) -> argparse.ArgumentParser:
    """The options that the benchmarks share."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=text)
    parser.add_argument("--size", type=parse_size, default=parse_size(size), metavar="WxH", help=f"default: {size}")
    parser.add_argument("--rounds", type=positive, default=rounds, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=2, help="threads of the kernels; default: %(default)s")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the table between its markers in FILE")
    return parser


def parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    size = positive(width), positive(height)
    # 64 rows hold the largest window of the table, and 4:2:0 video needs even numbers.
    if min(size) < 64 or size[0] % 2 or size[1] % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: width and height must be even and at least 64")
    return size


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def say(text: str) -> None:
    """Progress and details go to stderr; stdout carries the table only."""
    print(text, file=sys.stderr, flush=True)
