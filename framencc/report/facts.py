"""What a report says in words: what was run, with what options, on what machine, and how long it took."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from framencc.report.runs import Run, number, section
from framencc.spec import WRITTEN_FIELDS, RunSpec, leaf_fields

# Files are listed by themselves, and the rest changes nothing of a result.
_HIDDEN = (*WRITTEN_FIELDS, "input", "overwrite", "resume")


class Fact(NamedTuple):
    """A name and what is to be said of it."""

    name: str
    value: str


class Option(NamedTuple):
    """An option of a job, its values as they are written in a config file, and its help."""

    name: str
    values: tuple[str, ...]
    help: str


def describe_run(run: Run) -> list[Fact]:
    """Say what was run."""
    spec, stream, reference = run.section("spec"), run.section("stream"), run.section("reference")
    facts = [
        ("Input", text(run.section("input").get("path", spec.get("input")))),
        ("Size", f"{text(stream.get('width'))} x {text(stream.get('height'))}, {_samples(stream)}"),
        ("Frames", f"{run.n_frames}{_span(run)}"),
        ("Frame rate", text(stream.get("frame_rate"))),
        ("Reference", _reference(spec, reference)),
        ("Warp", text(section(spec, "warp").get("method"))),
        ("Encoding", _encoding(run.section("encoding"))),
        ("Result", "complete" if run.head.get("complete") is True else f"partial: {text(run.head.get('error'))}"),
    ]
    outputs = [(f"File: {name}", text(file)) for name, file in run.section("outputs").items()]
    return [Fact(name, value) for name, value in (*facts, *outputs) if value]


def describe_machine(run: Run) -> list[Fact]:
    """Say by which versions a run was made, and how long it took."""
    timings = run.section("timings")
    lines = [("framencc", text(run.head.get("framencc")))]
    lines += [(name, text(version)) for name, version in run.section("versions").items()]
    seconds, speed, compute = (
        number(timings.get(name)) for name in ("seconds", "frames_per_second", "compute_seconds")
    )
    for name, value, unit in (
        ("Wall time", seconds, "s"),
        ("Speed", speed, "frames/s"),
        ("Warping and correlating", compute, "s"),
    ):
        if not math.isnan(value):
            lines.append((name, f"{value:.1f} {unit}"))
    if resumed := timings.get("resumed_from"):
        lines.append(("Maps from an earlier run", text(resumed)))
    return [Fact(*line) for line in lines]


def changed_options(run: Run) -> list[Option]:
    """List the options that were given another value than their default; the second value is the default."""
    given, options = _flat(run.section("spec")), []
    hidden = (*_HIDDEN, "reference")  # which is always given, and shown by itself
    for name, field in leaf_fields(RunSpec):
        if name in given and name not in hidden and given[name] != _plain(field.default):
            values = (text(given[name]), text(_plain(field.default)))
            options.append(Option(name, values, field.description or ""))
    return options


def differing_options(first: Run, second: Run) -> list[Option]:
    """List the options in which two runs differ, but for where the results went."""
    help_texts = {name: field.description or "" for name, field in leaf_fields(RunSpec)}
    ours, theirs = _flat(first.section("spec")), _flat(second.section("spec"))
    options = []
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in _HIDDEN and ours.get(name) != theirs.get(name):
            values = (text(ours.get(name)), text(theirs.get(name)))
            options.append(Option(name, values, help_texts.get(name, "")))
    return options


def validity_shares(run: Run) -> list[tuple[str, float]]:
    """Name the validity codes and their shares of all pixels of the clip, where there are any."""
    codes = run.section("summary").get("code_shares")
    names = run.head.get("validity_codes")
    if not isinstance(codes, list) or not isinstance(names, list):
        return []
    shares = [(text(name), number(share)) for name, share in zip(names, codes, strict=False)]
    return [(name, share) for name, share in shares if share > 0]


def text(value: object) -> str:
    """Write a value of a sidecar for people."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list | dict) else str(value)


def _flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _samples(stream: Mapping[str, Any]) -> str:
    bits, n_channels = stream.get("bits"), stream.get("n_channels")
    depth = f"{text(bits)} bits" if isinstance(bits, int) else text(stream.get("dtype"))
    if stream.get("bits_from") == "content":
        depth += " by its codes"
    if stream.get("range") == "limited":
        depth += " of limited range"
    return f"{depth}, {'colour' if n_channels == 3 else 'one channel'}"


def _encoding(encoding: Mapping[str, Any]) -> str:
    kind = text(encoding["encoding"]) if "encoding" in encoding else ""
    rest = ", ".join(f"{name} {text(value)}" for name, value in encoding.items() if name != "encoding")
    return "; ".join(part for part in (kind, rest) if part)


def _span(run: Run) -> str:
    if run.n_frames == 0:
        return ""
    first, last = int(run.index[0]), int(run.index[-1])
    if run.n_frames == 1:
        return f": number {first}, at {run.pts_seconds[0]:.3f} s"
    return f", {first} to {last}, {run.pts_seconds[0]:.3f} to {run.pts_seconds[-1]:.3f} s"


def _reference(spec: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    given = spec.get("reference")
    return f"frame {given} of the input" if isinstance(given, int) else text(reference.get("path", given))


def join_reasons(reasons: Sequence[str]) -> str:
    """Put reasons into one line that begins like a sentence."""
    line = "; ".join(reasons)
    return line[:1].upper() + line[1:]
