"""What a finished run left: its sidecar as columns of numbers, and where its files are now."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import FramenccError, SourceError, SpecError
from framencc.lookup import is_file
from framencc.sidecar import fingerprint, read_sidecar
from framencc.sinks.base import summary
from framencc.sinks.targets import left_partial
from framencc.sources import probe_source
from framencc.sources.kinds import kind_of, open_kind
from framencc.spec import LimitsSpec
from framencc.staging import sidecar_path

Column = npt.NDArray[np.float64]

SCORES = {
    "mean_confidence": "mean confidence",
    "median": "median confidence",
    "p05": "5th percentile",
    "p95": "95th percentile",
    "valid_share": "measured share",
    "share_below": "share below the threshold",
    "sharpness_ratio": "sharpness over the reference's",
    "gain": "contrast over the reference's",
    "warp_magnitude": "mean displacement in pixels",
}
"""The scores of a frame or a region, by their names in the sidecar, and what people call them."""

DEFAULT_THRESHOLD = 0.5
_MOVED = ("path", "modified")  # a copy of the same file is the same input


@dataclass(frozen=True)
class Region:
    """A named part of the picture.

    Parameters
    ----------
    n_pixels
        How many pixels it has in the reference; None where the sidecar does not say.
    scores
        One column for each of `SCORES`, NaN where nothing was measured.
    """

    n_pixels: int | None
    scores: Mapping[str, Column]


@dataclass(frozen=True)
class Run:
    """A run as its sidecar describes it.

    Parameters
    ----------
    sidecar
        Where that is.
    head
        What it says of the whole run. Nothing in it has been checked.
    index, pts_seconds
        Number and time of every frame.
    scores
        One column for each of `SCORES`, NaN where nothing was measured.
    code_shares
        (N, codes) share of the pixels of each validity code.
    failures
        Why no warp was found, by the place of the frame among the rows; empty where that is not recorded.
    invalid
        Places of the frames without a warp in whose place nothing served: nothing of them was measured.
    damaged
        Why a frame could not be read whole, by its place; nothing of it was measured.
    regions
        The named parts of the picture.
    digests
        What `framencc.verification.digest` makes of each picture of an output, by the output's name; None where the
        sidecar does not say.
    imprints
        What `framencc.sinks.base.summary` makes of the packets of an output that has no digests, by its name.
    files
        Names of the files that frames of an image sequence come from, by place.
    """

    sidecar: Path
    head: Mapping[str, Any]
    index: npt.NDArray[np.int64]
    pts_seconds: Column
    scores: Mapping[str, Column]
    code_shares: npt.NDArray[np.float64]
    failures: Mapping[int, str]
    invalid: frozenset[int]
    damaged: Mapping[int, str]
    regions: Mapping[str, Region]
    digests: Mapping[str, Sequence[str | None]]
    imprints: Mapping[str, Mapping[str, int]]
    files: Mapping[int, str]

    @property
    def n_frames(self) -> int:
        """How many frames the sidecar describes."""
        return len(self.index)

    @property
    def name(self) -> str:
        """The output's name, which a report calls the run by."""
        return self.sidecar.name.removesuffix(".json")

    @property
    def threshold(self) -> float:
        """Below which confidence `share_below` counts."""
        return number(section(self.section("spec"), "scores").get("threshold"), DEFAULT_THRESHOLD)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a part of the head that holds names and values; empty where it is missing."""
        return section(self.head, name)

    def output(self, name: str) -> Path | None:
        """Find an output by its name in the spec; None where the run has none, or it is gone."""
        recorded = self.section("outputs").get(name)
        if recorded is None and name == "output":
            recorded = self.name
        return None if not isinstance(recorded, str) or not recorded else self.sidecar.parent / recorded


def find_sidecar(run: str | Path) -> Path:
    """Find the sidecar of a run that is named by it or by its output.

    Raises
    ------
    SourceError
        When there is none. Where the run has left a partial result, that is named.
    """
    given = Path(run)
    for path in (given, sidecar_path(given)):
        with contextlib.suppress(SpecError):  # a name may be too long
            if path.name.lower().endswith(".json") and is_file(path, f"sidecar {str(path)!r}"):
                return path
    instead = left_partial(given) or left_partial(Path(str(given).removesuffix(".json")))
    if instead is not None:
        raise SourceError(instead)
    raise SourceError(f"{str(run)!r} has no sidecar {sidecar_path(given).name!r} beside it, so it is no finished run")


def read_run(run: str | Path) -> Run:
    """Read what a run left.

    Parameters
    ----------
    run
        Its output or its sidecar.

    Raises
    ------
    SourceError
        When there is no sidecar, or it cannot be understood.
    """
    path = find_sidecar(run)
    head = read_sidecar(path)
    rows = head.pop("frames")
    index = _column(rows, "index")
    pts = _column(rows, "pts_seconds")
    if not (np.isfinite(index) & np.isfinite(pts) & (np.abs(index) < 2**53)).all():
        raise SourceError(f"sidecar {str(path)!r} is damaged: a row of its frames has no index or no time")
    scores = {name: _column(rows, name) for name in SCORES}
    warps = [section(row, "warp") for row in rows]
    if np.isnan(scores["warp_magnitude"]).all():  # a run without scores knows what its warps did all the same
        scores["warp_magnitude"] = np.array([_displacement(warp) for warp in warps], np.float64)
    failures = {
        place: str(warp.get("problem") or "")
        for place, warp in enumerate(warps)
        if warp.get("status", "estimated") != "estimated"
    }
    invalid = frozenset(place for place, warp in enumerate(warps) if warp.get("status") == "invalid")
    damaged = {place: str(row["damaged"]) for place, row in enumerate(rows) if row.get("damaged") is not None}
    codes = head.get("validity_codes")
    n_codes = len(codes) if isinstance(codes, list) else 0
    shares = np.array([_shares(row, n_codes) for row in rows], np.float64).reshape(len(rows), n_codes)
    return Run(
        *(path, head, index.astype(np.int64), pts, scores, shares, failures, invalid, damaged),
        regions=_regions(head, rows),
        digests=_digests(rows),
        imprints=_imprints(rows),
        files={place: str(row["file"]) for place, row in enumerate(rows) if "file" in row},
    )


def locate_input(run: Run) -> tuple[Path | None, str | None]:
    """Find the input of a run.

    Returns
    -------
    path : pathlib.Path or None
        Where it is; None where it is gone, or another by now.
    problem : str or None
        Why there is none.
    """
    recorded = run.section("input")
    return _locate(run, recorded, "input")


def locate_reference(run: Run) -> tuple[Path | None, str | None]:
    """Find the picture that a run compared with, as `locate_input`; a frame of the input is no picture of its own."""
    return _locate(run, run.section("reference"), "reference")


def same_input(first: Run, second: Run) -> bool:
    """Whether two runs read the same files, wherever those lay, and the same frames of them."""
    inputs = [
        {name: value for name, value in run.section("input").items() if name not in _MOVED} for run in (first, second)
    ]
    return inputs[0] == inputs[1]


def section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what a mapping holds under a name if it is one itself, and an empty one otherwise."""
    value = mapping.get(name)
    return value if isinstance(value, dict) else {}


def number(value: object, otherwise: float = math.nan) -> float:
    """Return a finite number as such, and anything else as `otherwise`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    try:
        return float(value) if math.isfinite(value) else otherwise
    except OverflowError:
        return otherwise


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Column:
    return np.array([number(row.get(name)) for row in rows], np.float64)


def _displacement(warp: Mapping[str, Any]) -> float:
    if "mean_displacement" in warp:
        return number(warp["mean_displacement"])
    return math.hypot(number(warp.get("dx")), number(warp.get("dy")))


def _shares(row: Mapping[str, Any], n_codes: int) -> list[float]:
    shares = row.get("code_shares")
    given = [number(share) for share in shares[:n_codes]] if isinstance(shares, list) else []
    return given + [math.nan] * (n_codes - len(given))


def _digests(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    parts = [section(row, "digests") for row in rows]
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [None if part.get(name) is None else str(part[name]) for part in parts] for name in names}


def _imprints(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    parts = [section(row, "imprints") for row in rows]
    names = [name for name in (parts[0] if parts else ()) if all(name in part for part in parts)]
    return {name: summary([part[name] for part in parts]) for name in names}


def _regions(head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Region]:
    described = section(head, "regions")
    parts = [section(row, "regions") for row in rows]
    names = dict.fromkeys([*described, *(name for part in parts for name in part)])
    regions = {}
    for name in names:
        own = [section(part, name) for part in parts]
        columns = {score: _column(own, "mean" if score == "mean_confidence" else score) for score in SCORES}
        n_pixels = number(section(described, name).get("n_pixels"))
        if math.isnan(n_pixels):
            counts = [number(part.get("n_pixels")) for part in own]
            n_pixels = max((count for count in counts if not math.isnan(count)), default=math.nan)
        regions[str(name)] = Region(None if math.isnan(n_pixels) else int(n_pixels), columns)
    return regions


def _candidates(run: Run, name: str) -> Iterator[Path]:
    """Yield where a file that a run has read may be, by the name that was given."""
    beside = run.sidecar.parent
    yield from (Path(name), beside / name)
    started_in = run.head.get("started_in")
    if isinstance(started_in, str):
        yield beside / started_in / name
    yield beside / Path(name).name


def _locate(run: Run, recorded: Mapping[str, Any], what: str) -> tuple[Path | None, str | None]:
    name = recorded.get("path")
    if not isinstance(name, str) or not name:
        return None, f"the sidecar does not say where the {what} is"
    problems = []
    for path in _candidates(run, name):
        try:
            found = _fingerprint(path, recorded)
        except FramenccError as error:
            problems.append(str(error))
            continue
        if found is None:
            continue
        if all(found.get(key) == value for key, value in recorded.items() if key in found and key not in _MOVED):
            return path, None
        problems.append(f"the {what} {str(path)!r} has changed since the run")
    # Another file of that name may lie in the first place that is looked at, so none of them ends the search.
    return None, problems[0] if problems else f"the {what} {name!r} is gone"


def _fingerprint(path: Path, recorded: Mapping[str, Any]) -> dict[str, Any] | None:
    """Describe what is in a place as it was recorded; None where there is nothing."""
    try:
        kind = kind_of(str(path))
    except FramenccError:
        return None
    if kind != "pictures":
        probe_source(path)
        return fingerprint(path)
    with open_kind(str(path), allow_gaps=True, stall_seconds=LimitsSpec().stall_seconds) as source:
        return fingerprint(path, source.files if "files" in recorded else None)
