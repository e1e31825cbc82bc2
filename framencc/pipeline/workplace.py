"""Where a job's outputs grow, and what an earlier run of the same job left there."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framencc.errors import SinkError, SpecError
from framencc.journal import Journal, read_journal
from framencc.sinks.base import sink_error
from framencc.sources import SeekPoint
from framencc.spec import PATH_FIELDS, RunSpec
from framencc.workfolder import WorkFolder, work_folder_path

MAPS = "output"
JOURNAL_FORMAT = 2
# What may differ between a run and the one that goes on with it: results do not depend on these.
_FREE_OPTIONS = ("resume", "overwrite", "threads", "limits", "verify")


@dataclass
class Left:
    """What the journal says has been done.

    Parameters
    ----------
    identity
        What was worked on; None where nothing had begun.
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
    whole
        The finished outputs, by their names in the spec, in their work folders; None before all are finished.
    publishing
        Whether old files have been taken out of their way.
    """

    identity: dict[str, Any] | None = None
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    points: list[SeekPoint] = field(default_factory=list)
    n_maps: int = 0
    n_segments: int = 0
    ended: bool = False
    damage: str | None = None
    whole: dict[str, str] | None = None
    publishing: bool = False

    @classmethod
    def read(cls, path: Path) -> "Left":
        """Read a journal; one of another format counts as none."""
        left = cls()
        for entry in read_journal(path):
            if entry.get("journal_format", JOURNAL_FORMAT) != JOURNAL_FORMAT:
                return cls()
            left._take(entry)
        return left if left.identity is not None else cls()

    def _take(self, entry: Mapping[str, Any]) -> None:
        kind = entry["kind"]
        if kind == "job":
            self.identity = entry["identity"]
        elif kind == "segment":
            self.n_segments += 1
            self.n_maps += len(entry["rows"])
            for name, record in entry["parts"].items():
                self.records.setdefault(name, []).append(record)
            if entry["point"] is not None:
                self.points.append(SeekPoint(**entry["point"]))
        elif kind == "whole":
            self.whole = entry["whole"]
        elif kind in ("publishing", "withdrawn"):
            self.publishing = kind == "publishing"
        if "end" in entry:
            self.ended, self.damage = True, entry["end"]["damage"]


def look(spec: RunSpec) -> Left:
    """Say what a run that was cut off has left of a job, without taking it over."""
    return Left.read(_journal_path(work_folder_path(Path(spec.output))))


def tidy_up(spec: RunSpec) -> None:
    """Remove the work folders of a job that is finished, where a run was killed while it did so.

    Raises
    ------
    SinkError
        When another run works there.
    """
    for path in map(Path, spec.targets.values()):
        if work_folder_path(path).is_dir():
            WorkFolder(path).remove()


class Workplace:
    """The locked work folders of a job's outputs, and the journal in that of the maps.

    Parameters
    ----------
    spec
        The job.

    Attributes
    ----------
    left
        What an earlier run left, to be gone on with.

    Raises
    ------
    SpecError
        When an earlier run left something, and the job says neither to go on with it nor to start anew.
    SinkError
        When another run works there, or nothing can be written there.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self.folders: dict[str, WorkFolder] = {}
        self.journal: Journal | None = None
        self.left = Left()
        self._keep = True
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for name, path in spec.targets.items():
                try:
                    self.folders[name] = WorkFolder(Path(path))
                except OSError as error:
                    raise error if isinstance(error, SinkError) else sink_error(Path(path), error) from error
            self._look()
            undo.pop_all()

    @property
    def journal_path(self) -> Path:
        """Where the journal is."""
        return _journal_path(self.folders[MAPS].path)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Read the rows of all sealed maps from the journal, first to last."""
        for entry in read_journal(self.journal_path):
            if entry["kind"] == "segment":
                yield from entry["rows"]

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Open the journal, for a new job or to go on.

        Parameters
        ----------
        identity
            All that results depend on.

        Raises
        ------
        SpecError
            When the job to go on with was another one; names what differs.
        SinkError
            When the journal cannot be written.
        """
        identity = json.loads(json.dumps(identity))
        if self.left.identity is not None and (found := differences(self.left.identity, identity)):
            raise SpecError(
                f"--resume cannot go on with output {self._spec.output!r}: {'; '.join(found)}; "
                f"give what it was begun with, or --overwrite instead to start anew"
            )
        try:
            self.journal = Journal(self.journal_path)
            if self.left.identity is None:
                self.journal.append({"kind": "job", "journal_format": JOURNAL_FORMAT, "identity": identity})
        except OSError as error:
            raise sink_error(self.folders[MAPS].target, error) from error

    def discard(self) -> None:
        """Let `close` remove everything, whatever has been sealed."""
        self._keep = False

    def close(self) -> int:
        """Leave the folders; unless maps are sealed in them, remove them. Return how many maps are kept."""
        if self.journal is not None:
            self.journal.close()
        kept = Left.read(self.journal_path).n_maps if self._keep and MAPS in self.folders else 0
        # That of the maps, which comes first, goes last: as long as there is a journal, a later run tidies up.
        for folder in reversed(self.folders.values()):
            if kept:
                folder.release()
            else:
                folder.remove()
        self.folders = {}
        return kept

    def _look(self) -> None:
        try:
            left = Left.read(self.journal_path)
            if left.n_maps and not self._spec.resume and not self._spec.overwrite:
                raise SpecError(
                    f"output {self._spec.output!r} was begun by a run that was cut off, and {left.n_maps} of its maps "
                    f"are kept; --resume goes on with it, --overwrite starts anew"
                )
            for folder in self.folders.values():
                if left.n_maps and self._spec.resume:
                    folder.clear_hidden()
                else:
                    folder.clear()
        except OSError as error:
            raise sink_error(self.folders[MAPS].target, error) from error
        if left.n_maps and self._spec.resume:
            self.left = left


def _journal_path(folder: Path) -> Path:
    return folder / "journal"


def identify(spec: RunSpec, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what results depend on: the options, and facts about files and versions."""
    options = json.loads(spec.model_dump_json(exclude=set(_FREE_OPTIONS)))
    for name in PATH_FIELDS:
        *sections, last = name.split(".")
        section = options
        for part in sections:
            section = section[part]
        if isinstance(section[last], str):
            section[last] = str(Path(section[last]).absolute())
    return {"options": options, **facts}


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """Name what differs between two values as JSON has them, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys: Sequence[str] = sorted(then.keys() | now.keys())
        inner = (differences(then.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [text.removeprefix("options.") for texts in inner for text in texts]
    return [] if then == now else [f"{name} was {json.dumps(then)} and is {json.dumps(now)}"]
