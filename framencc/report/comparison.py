"""What the report of two runs over the same frames shows: where, when and why they differ."""

from pathlib import Path
from typing import Any

import numpy as np

from framencc.errors import SpecError
from framencc.report.differences import Differences, compare_maps
from framencc.report.drawing import Panel
from framencc.report.facts import describe_machine, describe_run, differing_options, text
from framencc.report.overview import Page, card, histogram, mean_of
from framencc.report.page import find_video, format_change, format_percent, format_score, preview_problems
from framencc.report.runs import SCORES, Column, Run, same_input
from framencc.report.stretches import WHOLE
from framencc.report.timeline import Timeline

_REGION_SCORES = ("mean_confidence", "valid_share", "share_below")  # all of every region would bury the rest


def comparison_page(first: Run, second: Run, folder: Path, *, progress: bool = False) -> tuple[Page, Page]:
    """Put together what the template and the page's script need.

    Raises
    ------
    SpecError
        When the runs are not over the same frames of the same input.
    """
    require_comparable(first, second)
    both = (("A", first), ("B", second))
    problems: list[str] = []
    found = None
    try:
        found = compare_maps(first, second, progress=progress)
        problems += found.problems
    except (OSError, ValueError) as error:  # SourceError is one of them
        problems.append(f"the maps cannot be compared: {error}")
    for letter, run in both:
        problems += preview_problems(run.output("preview"), f"preview of {letter}")
    difference = second.scores["mean_confidence"] - first.scores["mean_confidence"]
    names = _names(first, second)
    page: Page = {
        "title": f"{first.name} and {second.name} – framencc comparison",
        "heading": f"{names[0]} and {names[1]}",
        "kind": "comparison",
        "lead": _lead(difference),
        "partial": None,
        "figures": _figures(first, second, difference, found),
        "stretches": [],
        "more_stretches": 0,
        "video": find_video({f"Preview of {letter}": run.output("preview") for letter, run in reversed(both)}, folder),
        "clip": None,
        "problems": problems,
        **_pictures(first, difference, found),
        "validity": [],
        "regions": [],
        "sides": _sides(first, second),
        "runs": [{"heading": f"{letter}: {run.name}", "facts": describe_run(run)} for letter, run in both],
        "options": {
            "heading": "Options that differ",
            "columns": ["A", "B"],
            "rows": differing_options(first, second),
            "none": "Both runs have the same options.",
        },
        "machines": [
            {"heading": f"Environment and timings of {letter}", "facts": describe_machine(run)} for letter, run in both
        ],
    }
    start = found.panels[0].place if found is not None and found.panels else 0
    return page, _timeline(first, second, found).as_json([], start)


def _pictures(first: Run, difference: Column, found: Differences | None) -> Page:
    counts = [] if found is None or not sum(found.counts) else [found.counts]
    if found is None or found.certain:
        counted = "Gray: not measured in both, and not counted."
    else:
        counted = (
            "Gray: not measured in both, and not counted, as far as that is known (--validity keeps it); other pixels "
            "without a measurement count as what they hold."
        )
    return {
        "panels_heading": "Frames that differ most",
        "panels_lead": f"By the mean of |B - A| over their pixels. Orange: B is higher. Blue: A is higher. {counted}",
        "panels": [] if found is None else [_card(first, panel, found, difference) for panel in found.panels],
        "histograms": [
            histogram("How far the maps differ", "|B - A| of the pixels of all frames", one) for one in counts
        ],
    }


def require_comparable(first: Run, second: Run) -> None:
    """Refuse runs whose frames cannot be laid beside each other.

    Raises
    ------
    SpecError
        When they are not over the same frames of the same input.
    """
    names = f"{first.name!r} and {second.name!r}"
    if not same_input(first, second):
        paths = [text(run.section("input").get("path")) for run in (first, second)]
        other = f"{paths[0]!r} and {paths[1]!r}" if paths[0] != paths[1] else f"two versions of {paths[0]!r}"
        raise SpecError(f"{names} cannot be compared: they are runs over different inputs, {other}")
    if not np.array_equal(first.index, second.index):
        spans = [
            f"{run.n_frames} frames" + (f" ({run.index[0]} to {run.index[-1]})" if run.n_frames else "")
            for run in (first, second)
        ]
        raise SpecError(f"{names} cannot be compared: they are over different frames, {spans[0]} and {spans[1]}")


def _names(first: Run, second: Run) -> tuple[str, str]:
    """Name the runs by their files, and by their folders as well where those have the same names."""
    if first.name != second.name:
        return first.name, second.name
    return str(first.sidecar.parent / first.name), str(second.sidecar.parent / second.name)


def _lead(difference: Column) -> str:
    known = difference[np.isfinite(difference)]
    if not known.size:
        return "There is no frame in which both runs measured something."
    n_higher = int(np.count_nonzero(known > 0))
    mean = float(known.mean())
    if not np.abs(known).max() > 0:
        return "Both runs have the same mean confidence in every frame."
    which = "B" if mean > 0 else "A"
    share = n_higher if mean > 0 else int(np.count_nonzero(known < 0))
    return (
        f"{which} has the higher confidence, by {abs(mean):.3f} on average, and in {share} of {known.size} frames. "
        f"Higher is not better by itself: see where."
    )


def _figures(first: Run, second: Run, difference: Column, found: Differences | None) -> list[Page]:
    means = [mean_of(run.scores["mean_confidence"]) for run in (first, second)]
    measured = [mean_of(run.scores["valid_share"]) for run in (first, second)]
    figures = [
        {"name": f"Confidence of {letter}", "value": format_score(mean), "note": f"{format_percent(share)} measured"}
        for letter, mean, share in zip("AB", means, measured, strict=True)
    ]
    average = mean_of(difference)
    figures.append({"name": "B - A", "value": format_change(average), "note": "mean over frames"})
    if found is not None:
        overall = mean_of(found.mean_absolute)
        figures.append({"name": "Mean |B - A|", "value": format_score(overall), "note": "over pixels"})
    failed = [str(len(run.failures)) for run in (first, second)]
    figures.append({"name": "Failed warps", "value": " / ".join(failed), "note": "A / B"})
    return figures


def _card(run: Run, panel: Panel, found: Differences, difference: Column) -> Page:
    change = difference[panel.place]
    caption = f"mean |B - A| {format_score(float(found.mean_absolute[panel.place]))}"
    if np.isfinite(change):
        caption += f", mean confidence {format_change(float(change))}"
    return card(run, panel, caption)


def _timeline(first: Run, second: Run, found: Differences | None) -> Timeline:
    timeline = Timeline(first)

    def pair(score: str, region: str | None = None) -> list[dict[str, Any] | None]:
        return [
            timeline.line(f"{letter}/{region or ''}/{score}", letter, _scores(run, region)[score], colour)
            for letter, run, colour in (("A", first, 0), ("B", second, 1))
            if region is None or region in run.regions
        ]

    # Every strip that has numbers of regions has the same views: what is chosen for the first holds for all.
    shared = [None, *(name for name in first.regions if name in second.regions)]
    named = {region: region or WHOLE for region in shared}
    timeline.strip(
        "confidence", {name: pair("mean_confidence", region) for region, name in named.items()}, share=True, weight=2.2
    )
    for letter, run in (("A", first), ("B", second)):
        timeline.failures(run, f"{letter}: no warp found")
    timeline.damage(first)
    differences = {}
    for region, name in named.items():
        change = _scores(second, region)["mean_confidence"] - _scores(first, region)["mean_confidence"]
        column = "difference" if region is None else f"difference/{region}"
        differences[name] = [timeline.line(column, "B - A, mean confidence", change, 2)]
    if found is not None:
        differences[WHOLE].append(timeline.line("absolute", "mean |B - A| of pixels", found.mean_absolute, 3))
    timeline.strip("difference", differences, named=True, weight=1.4)
    shares = {name: pair("valid_share", region) for region, name in named.items()}
    timeline.strip("measured share", shares, share=True)
    displacements = {name: pair("warp_magnitude", region) for region, name in named.items()}
    timeline.strip("mean displacement in pixels", displacements)
    return timeline


def _sides(first: Run, second: Run) -> list[Page]:
    """Lay the means of all scores beside each other, for the whole frame and for the regions that both runs have."""
    rows = []
    labels = SCORES | ({} if first.threshold == second.threshold else {"share_below": _two_thresholds(first, second)})
    for where in (None, *(name for name in first.regions if name in second.regions)):
        for score, label in labels.items():
            means = [mean_of(_scores(run, where)[score]) for run in (first, second)]
            if where is not None and score not in _REGION_SCORES:
                continue
            if means[0] is not None or means[1] is not None:
                alike = None not in means and label == SCORES[score]
                change = means[1] - means[0] if alike else None  # type: ignore[operator]
                name = WHOLE if where is None else where
                rows.append({"where": name, "score": label, "first": means[0], "second": means[1], "change": change})
    return rows


def _two_thresholds(first: Run, second: Run) -> str:
    return f"share below {first.threshold:g} in A, {second.threshold:g} in B"


def _scores(run: Run, region: str | None) -> Any:
    return run.scores if region is None else run.regions[region].scores
