"""What an earlier run of a job has left in its work folders, as its journal says; nothing that it says is trusted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framencc.journal import read_journal
from framencc.pipeline.identity import place
from framencc.pipeline.publishing import check_move, identity_of
from framencc.sinks import partial_path
from framencc.sinks.targets import NumberedFiles, is_numbered
from framencc.sources import SeekPoint
from framencc.spec import RunSpec
from framencc.staging import require_plain_name, sidecar_path
from framencc.workfolder import find_work_folder, work_folder_path

MAPS, CLIP_MAPS = "output", "clip_maps"
JOURNAL_FORMAT = 3
# What comes of using an entry that no run has written.
JOURNAL_ERRORS = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
_FIRST_LINE_BYTES = 1 << 20
_LARGEST = 2**63


@dataclass
class Left:
    """What the journal says has been done.

    Parameters
    ----------
    identity
        What was worked on; None where nothing had begun.
    places
        Where its outputs were going to be.
    records
        For each output, what sealing said of its parts.
    points
        Frames of the input that are known: the last one of every segment.
    n_maps, n_segments
        How much is sealed.
    ended
        Whether all maps are sealed.
    damage
        Why they end before the input does; None where they do not.
    plan
        Where the finished outputs and their sidecar are, and where they are going to be, as of `Move.as_json`; None
        before all are finished.
    published
        Whether everything has its name, so that only the work folders are left to be removed.
    warnings
        What a user should know of the inputs, as far as they have been read.
    unreadable
        Why the journal cannot be read from its beginning; None where it can, or where there is none.
    """

    identity: dict[str, Any] | None = None
    places: dict[str, str] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    points: list[SeekPoint] = field(default_factory=list)
    n_maps: int = 0
    n_segments: int = 0
    ended: bool = False
    damage: str | None = None
    plan: list[Any] | None = None
    unreadable: str | None = None
    published: bool = False
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Left":
        """Read a journal. What no run writes makes it unreadable: anybody may have put it there."""
        left = cls()
        for entry in read_journal(path):
            if entry.get("journal_format", JOURNAL_FORMAT) != JOURNAL_FORMAT:
                return cls(unreadable="is of another version of framencc")
            try:
                left._take(entry)
            except JOURNAL_ERRORS as error:
                reason = f": {error}" if type(error) is ValueError else ""
                return cls(unreadable=f"is damaged{reason}")
        if left.identity is None and path.exists() and b"\n" in path.read_bytes()[:_FIRST_LINE_BYTES]:
            return cls(unreadable="is damaged")
        return left

    @property
    def n_kept(self) -> int:
        """How many maps are worth keeping."""
        return 0 if self.published else self.n_maps

    def _take(self, entry: Mapping[str, Any]) -> None:
        kind = entry["kind"]
        if "warnings" in entry:
            self.warnings = [str(warning) for warning in entry["warnings"]]
        if kind == "job":
            self.identity = dict(entry["identity"])
            dict.keys(dict.get(self.identity["options"], "warp", {}))  # they are mappings
            self.places = {str(name): str(path) for name, path in entry["places"].items()}
        elif kind == "segment":
            self.n_segments += 1
            self.n_maps += len(entry["rows"])
            for name, record in entry["parts"].items():
                require_plain_name(record["file"])
                if name != CLIP_MAPS and _whole_number(record["maps"]) != len(entry["rows"]):
                    raise ValueError(f"a part of {name} has another number of maps than frames")
                self.records.setdefault(name, []).append(record)
            if entry["point"] is not None:
                self.points.append(_point_of(**entry["point"]))
        elif kind == "whole":
            for move in entry["plan"]:
                check_move(move)
            self.plan = entry["plan"]
        elif kind == "published":
            self.published = True
        if "end" in entry:
            self.ended, self.damage = True, entry["end"]["damage"]


def check_row(row: Any) -> None:
    """Refuse what no run says of a frame; its scores are for `Tally` to refuse.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError
        When it is not as it was written.
    """
    _whole_number(row["index"])
    _seconds(row["pts_seconds"])
    if not all(digest is None or isinstance(digest, str) for digest in dict.values(row["digests"])):
        raise TypeError("a digest is no text")
    for name, imprint in dict.items(row.get("imprints", {})):
        if not isinstance(name, str) or [_whole_number(number) for number in list.__iter__(imprint)][2:]:
            raise TypeError("an imprint is none")
    json.dumps(row, allow_nan=False)


def _point_of(index: Any, pts_seconds: Any, digest: Any) -> SeekPoint:
    return SeekPoint(_whole_number(index), _seconds(pts_seconds), str(digest))


def _whole_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError(f"{value!r:.40} counts nothing")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < _LARGEST:
        raise ValueError(f"{value!r:.40} is no time")
    return float(value)


def read_left(spec: RunSpec) -> Left:
    """Read what a run has left of a job, and refuse what no run has.

    Raises
    ------
    SinkError, OSError
        When a work folder was not made by framencc, or cannot be read.
    """
    found = {name: find_work_folder(Path(path)) for name, path in spec.targets.items()}
    folder = found[MAPS]
    if folder is None:
        return Left()
    left = Left.read(journal_path(folder))
    for output, source, target, identity in left.plan or ():
        if output not in left.places:
            return Left(unreadable=f"is damaged: it names no output {output!r}")
        if left.places[output] == places(spec).get(output) and not _may_take(spec, output, target):
            return Left(unreadable=f"is damaged: {target!r} is not a name of {output}")
        if left.published and found.get(output) is not None:
            # The line stands there, but its flush has failed and everything was taken back.
            waits = identity_of(work_folder_path(Path(spec.targets[output])) / source) == tuple(identity)
            left.published = not waits
    return Left(published=True) if left.published else left


def _may_take(spec: RunSpec, output: str, name: str) -> bool:
    """Whether a file of an output, or its sidecar, may have a name."""
    target = Path(spec.targets[output])
    for path in (target, partial_path(target)):
        if name == path.name or (output == MAPS and name == sidecar_path(path).name):
            return True
        if is_numbered(path) and NumberedFiles(path).names(name):
            return True
    return False


def places(spec: RunSpec) -> dict[str, str]:
    """Say where a job's outputs are going to be, each place in one way only."""
    return {name: place(path) for name, path in spec.targets.items()}


def journal_path(folder: Path) -> Path:
    """Name the journal in the work folder of the maps."""
    return folder / "journal"
