"""What the report of one run shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framencc.report.drawing import Panel
from framencc.report.facts import changed_options, describe_machine, describe_run, join_reasons, text, validity_shares
from framencc.report.page import find_video, format_percent, format_score, format_seconds, preview_problems
from framencc.report.panels import Gallery
from framencc.report.runs import Column, Region, Run
from framencc.report.stretches import WHOLE, Stretch, broken, commonest, find_stretches, weak_places, worst_places
from framencc.report.survey import Survey, survey
from framencc.report.timeline import run_timeline

MOST_PANELS = 12
_SHOWN_STRETCHES = 60
_BINS = 40

Page = dict[str, Any]


def run_page(run: Run, folder: Path) -> tuple[Page, Page]:
    """Put together what the template and the page's script need.

    Parameters
    ----------
    run
        The run.
    folder
        Where the page is going to be.
    """
    stretches = find_stretches(run)
    gallery = Gallery(run)
    places = worst_places(run, stretches, MOST_PANELS)
    panels = [panel for place in places if (panel := gallery.draw(place))]
    found = survey(run, gallery)
    histograms = [*_pixel_histogram(found), *_frame_histogram(run.scores["mean_confidence"])]
    page: Page = {
        "title": f"{run.name} – framencc report",
        "heading": run.name,
        "kind": "run",
        "lead": _lead(run, stretches),
        "partial": None if run.head.get("complete") is True else text(run.head.get("error")),
        "figures": _figures(run, stretches),
        "stretches": [_stretch(run, stretch) for stretch in stretches[:_SHOWN_STRETCHES]],
        "more_stretches": max(0, len(stretches) - _SHOWN_STRETCHES),
        "video": find_video({"Preview": run.output("preview"), "Confidence maps": run.output("output")}, folder),
        "panels_heading": "Worst frames",
        "panels_lead": "The worst frame of each stretch first, then the lowest of the rest. Blue is not measured.",
        "panels": [_card(run, panel, stretches) for panel in panels],
        "clip": _clip_picture(found),
        "problems": [*gallery.problems, *preview_problems(run.output("preview"))],
        "histograms": histograms,
        "validity": validity_shares(run),
        "regions": [_region(run, name, region) for name, region in run.regions.items()],
        "sides": [],
        "runs": [{"heading": "What was run", "facts": describe_run(run)}],
        "options": {
            "heading": "Options that differ from their defaults",
            "columns": ["Value", "Default"],
            "rows": changed_options(run),
            "none": "All options have their defaults.",
        },
        "machines": [{"heading": "Environment and timings", "facts": describe_machine(run)}],
    }
    return page, run_timeline(run).as_json(broken(run, stretches), places[0] if places else 0)


def card(run: Run, panel: Panel, caption: str) -> Page:
    """Describe a panel under a caption, as a thing that jumps to its place on the timeline."""
    return {
        **moment(run, panel.place),
        "uri": panel.uri,
        "width": panel.width,
        "height": panel.height,
        "labels": panel.labels,
        "caption": caption,
        "alt": f"From left to right: {', '.join(panel.labels)}.",
    }


def moment(run: Run, place: int) -> Page:
    """Name a frame and its time."""
    seconds = float(run.pts_seconds[place])
    return {"index": int(run.index[place]), "time": seconds, "clock": format_seconds(seconds)}


def mean_of(values: Column) -> float | None:
    """Return the mean of what was measured, None where nothing was."""
    measured = values[np.isfinite(values)]
    return float(measured.mean()) if measured.size else None


def histogram(title: str, note: str, counts: Sequence[int]) -> Page:
    """Describe a histogram over 0 to 1: bars by their height against the highest, and what a reader is told."""
    total, most = sum(counts), max(counts)
    width = 1 / len(counts)
    bars = [
        {"height": count / most if most else 0.0, "label": f"{i * width:.3f} to {(i + 1) * width:.3f}: {count}"}
        for i, count in enumerate(counts)
    ]
    below = sum(counts[: len(counts) // 2]) / total if total else None
    return {"title": title, "note": note, "bars": bars, "summary": f"{format_percent(below)} lie below 0.5"}


def _lead(run: Run, stretches: Sequence[Stretch]) -> str:
    if run.n_frames == 0:
        return "The run has no frames."
    if not np.isfinite(run.scores["mean_confidence"]).any():
        why = ", ".join(f"{name} {format_percent(share)}" for name, share in validity_shares(run))
        return f"Nothing was measured in any frame{': ' if why else ''}{why}."
    weak = weak_places(run)
    sentences = [*_weak(weak), *_breaks(run, stretches, holds=not weak)]
    if run.damaged:
        sentences.append(f"The video is damaged in {len(run.damaged)} of {run.n_frames} frames.")
    return " ".join(sentences)


def _weak(weak: Sequence[tuple[str, float]]) -> Iterator[str]:
    for mean in (mean for where, mean in weak if where == WHOLE):
        yield f"The match is weak throughout: its mean confidence is {format_score(mean)}."
    regions = ", ".join(f"{where} ({format_score(mean)})" for where, mean in weak if where != WHOLE)
    if regions:
        yield f"The match is weak throughout in {regions}."


def _breaks(run: Run, stretches: Sequence[Stretch], *, holds: bool) -> Iterator[str]:
    worst = next((stretch for stretch in stretches if stretch.worst not in run.damaged), None)
    if worst is None:
        if holds:
            yield "The match holds."
        yield "No frame falls clearly below what is usual for this take."
        return
    where = "" if worst.where == WHOLE else f" in {worst.where}"
    yield (
        f"The match breaks in {_n_broken(run, stretches)} of {run.n_frames} frames; worst at frame "
        f"{int(run.index[worst.worst])} ({format_seconds(float(run.pts_seconds[worst.worst]))}){where}: "
        f"{worst.reasons[0]}."
    )


def _n_broken(run: Run, stretches: Sequence[Stretch]) -> int:
    return len({place for stretch in stretches for place in stretch.bad} - run.damaged.keys())


def _figures(run: Run, stretches: Sequence[Stretch]) -> list[Page]:
    confidence = run.scores["mean_confidence"]
    n_measured = int(np.isfinite(confidence).sum())
    n_weak = int((confidence < run.threshold).sum())
    of = "frames" if n_measured == run.n_frames else "measured frames"
    figures = [
        {
            "name": "Mean confidence",
            "value": format_score(mean_of(confidence)),
            "note": f"below {run.threshold:g} in {n_weak} of {n_measured} {of}",
        },
    ]
    if n_measured:
        lowest = int(np.nanargmin(confidence))
        note = f"frame {int(run.index[lowest])}, {format_seconds(float(run.pts_seconds[lowest]))}"
        figures.append({"name": "Lowest frame", "value": format_score(float(confidence[lowest])), "note": note})
    measured = mean_of(run.scores["valid_share"])
    figures.append({"name": "Measured pixels", "value": format_percent(measured), "note": "of all pixels"})
    below = mean_of(run.scores["share_below"])
    if below is not None:
        note = f"of measured pixels below {run.threshold:g}"
        figures.append({"name": "Weak pixels", "value": format_percent(below), "note": note})
    n_broken = _n_broken(run, stretches)
    figures.append({"name": "Frames that break", "value": str(n_broken), "note": f"of {run.n_frames}"})
    if run.damaged:
        figures.append({"name": "Damaged frames", "value": str(len(run.damaged)), "note": f"of {run.n_frames}"})
    if run.failures or np.isfinite(run.scores["warp_magnitude"]).any():
        why = commonest(run.failures.values()) if run.failures else ""
        note = f"of {run.n_frames} frames{': ' if why else ''}{why}"
        figures.append({"name": "Failed warps", "value": str(len(run.failures)), "note": note})
    return figures


def _stretch(run: Run, stretch: Stretch) -> Page:
    n_frames = stretch.last - stretch.first + 1
    first, last = (int(run.index[place]) for place in (stretch.first, stretch.last))
    start, end = (format_seconds(float(run.pts_seconds[place])) for place in (stretch.first, stretch.last))
    return {
        **moment(run, stretch.worst),
        "where": stretch.where,
        "frames": f"{first}" if n_frames == 1 else f"{first} to {last}",
        "clocks": start if n_frames == 1 else f"{start} to {end}",
        "start": float(run.pts_seconds[stretch.first]),
        "end": float(run.pts_seconds[stretch.last]),
        "reason": join_reasons(stretch.reasons),
    }


def _card(run: Run, panel: Panel, stretches: Sequence[Stretch]) -> Page:
    place = panel.place
    mean = format_score(float(run.scores["mean_confidence"][place]))
    share = format_percent(float(run.scores["valid_share"][place]))
    caption = f"confidence {mean}, {share} measured" if mean != "–" else "nothing measured"
    if place in run.failures:
        why = f"no warp was found{f': {run.failures[place]}' if run.failures[place] else ''}"
        caption = why if place in run.invalid else f"{caption}; {why}"
    caption = run.damaged.get(place, caption)
    regions = [stretch for stretch in stretches if stretch.worst == place and stretch.where != WHOLE]
    if regions:
        caption = f"{regions[0].where}: {regions[0].reasons[0]}; whole frame: {caption}"
    if place in run.files:
        caption += f" ({run.files[place]})"
    return card(run, panel, caption)


def _region(run: Run, name: str, region: Region) -> Page:
    confidence = region.scores["mean_confidence"]
    row: Page = {
        "name": name,
        "n_pixels": "unknown" if region.n_pixels is None else str(region.n_pixels),
        "mean": mean_of(confidence),
        "measured": mean_of(region.scores["valid_share"]),
        "below": mean_of(region.scores["share_below"]),
        "lowest": None,
        "note": None,
    }
    if region.n_pixels == 0:
        row["note"] = "no pixel of the picture has this label"
    elif not np.isfinite(confidence).any():
        row["note"] = "nothing was measured here in any frame"
    else:
        lowest = int(np.nanargmin(confidence))
        row["lowest"] = {**moment(run, lowest), "value": float(confidence[lowest])}
    return row


def _pixel_histogram(found: Survey | None) -> list[Page]:
    if found is None or sum(found.counts) == 0:
        return []
    note = f"Measured pixels of {found.n_sampled} frame{'s' if found.n_sampled > 1 else ''} spread evenly over the clip"
    return [histogram("Confidence of pixels", note, found.counts)]


def _clip_picture(found: Survey | None) -> Page | None:
    if found is None:
        return None
    panel = found.panel
    alt = f"From left to right: {', '.join(panel.labels)}. {found.note}"
    size = {"uri": panel.uri, "width": panel.width, "height": panel.height}
    return {**size, "labels": panel.labels, "alt": alt, "note": found.note}


def _frame_histogram(confidence: Column) -> list[Page]:
    measured = confidence[np.isfinite(confidence)]
    if not measured.size:
        return []
    counts = np.histogram(np.clip(measured, 0, 1), _BINS, (0, 1))[0].tolist()
    which = f"All {measured.size} frames" if measured.size > 1 else "The one frame"
    return [histogram("Mean confidence of frames", f"{which} with a measurement", counts)]
