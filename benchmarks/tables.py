"""What benchmarks take and give, Markdown tables, and putting them into the documents between their markers."""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# The document that shows a table; a table that is not listed is only printed.
DOCUMENTS = {
    "kernels": "README.md",
    "options": "README.md",
    "runs": "README.md",
    "startup": "README.md",
    "limits": "docs/performance.md",
    "peers": "docs/performance.md",
    "scaling": "docs/performance.md",
    "sampling": "docs/warps.md",
    "flow": "docs/warps.md",
    "usefulness": "docs/warps.md",
    "preview": "docs/previews.md",
    "reliability": "docs/reliability.md",
}


@dataclass(frozen=True)
class Options:
    """What a benchmark is asked for."""

    size: tuple[int, int]
    threads: int
    rounds: int
    frames: tuple[int, ...] = ()

    @classmethod
    def from_arguments(cls, given: argparse.Namespace, defaults: Mapping[str, Any]) -> "Options":
        """Fill what was not given on the command line with a benchmark's own defaults."""
        frames = tuple(given.frames or defaults.get("frames", ()))
        return cls(given.size, given.threads, given.rounds or defaults["rounds"], frames)

    @property
    def shape(self) -> str:
        return f"{self.size[0]} x {self.size[1]}"


@dataclass(frozen=True)
class Findings:
    """What a benchmark found: Markdown by the names of tables, and numbers by the names that `limits` asks for."""

    tables: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def publish(name: str, text: str, folder: Path | None) -> None:
    """Print a table; with the folder of the documents, also put it where it is shown."""
    if folder is not None and name in DOCUMENTS:
        target = folder / DOCUMENTS[name]
        content = target.read_text(encoding="utf-8")
        target.write_text(replace_marked(content, name, text), encoding="utf-8")
    print(text)


def replace_marked(content: str, name: str, text: str) -> str:
    """Replace the text between the markers of a table; everything else is left as it is."""
    begin, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
    before, found_begin, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"no place for the table: {begin} and, after it, {end} are expected")
    return f"{before}{begin}\n{text}\n{end}{after}"


def caption(options: Options, *packages: str) -> str:
    """Say how the figures of a table came about."""
    return f"Medians of {options.rounds} interleaved rounds, threads: {options.threads}. {machine(*packages)}."


def machine(*packages: str) -> str:
    """Say what the figures were measured on."""
    facts = machine_facts(*packages)
    installed = [f"{package} {version}" for package, version in facts["versions"].items()]
    return f"{facts['system']}, {facts['cores']} cores ({facts['processor']}); " + ", ".join(installed)


def machine_facts(*packages: str) -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "processor": processor(),
        "versions": {"Python": platform.python_version()} | {name: installed_version(name) for name in packages},
    }


def installed_version(package: str) -> str:
    # OpenCV comes under several names.
    for name in (package, f"{package}-headless"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "(not installed)"


def processor() -> str:
    """Name the processor, with its family and model where the name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name", platform.processor() or "unknown")
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([name, *numbers])


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
    """Progress and details go to stderr; stdout carries the tables only."""
    print(text, file=sys.stderr, flush=True)
