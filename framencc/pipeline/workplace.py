"""Where a job's outputs grow, and what an earlier run of the same job left there."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from framencc.errors import FramenccError, SinkError, SpecError
from framencc.journal import Journal, read_journal
from framencc.pipeline.identity import differences, place
from framencc.pipeline.left import (
    JOURNAL_ERRORS,
    JOURNAL_FORMAT,
    MAPS,
    Left,
    check_row,
    journal_path,
    places,
    read_left,
)
from framencc.pipeline.publishing import Move, take_back
from framencc.pipeline.tally import Tally
from framencc.sinks.base import sink_error
from framencc.spec import RunSpec
from framencc.workfolder import WorkFolder, find_work_folder, work_folder_path


def look(spec: RunSpec) -> Left:
    """Say what a run that was cut off has left of a job, without taking it over.

    Raises
    ------
    SpecError
        When there is something, and the job says neither to go on with it nor to start anew.
    SinkError
        When it cannot be read.
    """
    path = Path(spec.output)
    try:
        left = read_left(spec)
    except SinkError:
        raise
    except OSError as error:
        raise sink_error(path, error) from error
    if spec.overwrite and not spec.resume:
        return left
    if left.unreadable is not None:
        raise _unreadable(spec, left.unreadable)
    if left.n_maps and not spec.resume:
        raise SpecError(
            f"output {spec.output!r} was begun by a run that was cut off, and {left.n_maps} of its maps are kept; "
            f"--resume goes on with it, --overwrite starts anew"
        )
    return left


def _unreadable(spec: RunSpec, why: str) -> SpecError:
    return SpecError(
        f"output {spec.output!r} was begun by a run that was cut off, and its journal {why}; "
        f"--overwrite without --resume starts anew"
    )


def require_same(left: Left, identity: Mapping[str, Any], spec: RunSpec) -> None:
    """Refuse to go on with another job.

    Raises
    ------
    SpecError
        With what differs.
    """
    if left.identity is not None and (
        found := differences(_so_far(left.identity, spec), json.loads(json.dumps(identity)))
    ):
        raise SpecError(
            f"--resume cannot go on with output {spec.output!r}: {'; '.join(found)}; "
            f"give what it was begun with, or --overwrite instead to start anew"
        )


def _so_far(identity: Mapping[str, Any], spec: RunSpec) -> dict[str, Any]:
    """Return what kept maps depend on: where a missing warp ends the run they had all one, so its policy is open."""
    options = identity.get("options", {})
    warp = options.get("warp", {})
    if warp.get("on_failure") != "fail" or spec.frames is not None:  # frames that only lead to others are never refused
        return dict(identity)
    return {**identity, "options": {**options, "warp": {**warp, "on_failure": spec.warp.on_failure}}}


def tidy_up(spec: RunSpec) -> None:
    """Remove the work folders of a job that is finished, where a run was killed while it did so.

    Raises
    ------
    SinkError
        When another run works there.
    """
    for path in map(Path, spec.targets.values()):
        if work_folder_path(path).is_dir():  # also one with nothing in it, not even its mark
            folder = WorkFolder(path)
            if folder.owner in (None, _owner_of(spec)):
                folder.remove()
            else:
                folder.release()


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
    has_begun
        Whether the work has begun.

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
        self.has_begun = False
        self.left = Left()
        self._found = Left()
        self._n_kept: int | None = None  # not known yet
        self._is_published = False
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for name, path in spec.targets.items():
                with _explained(Path(path)):
                    self.folders[name] = WorkFolder(Path(path))
            self._found = look(spec)
            self._n_kept = self._found.n_maps
            if spec.resume and self._found.n_maps:
                self.left = self._found
            for name, folder in self.folders.items():
                self._require_own(name, folder)
            undo.pop_all()

    @property
    def journal_path(self) -> Path:
        """Where the journal is."""
        return journal_path(self.folders[MAPS].path)

    @property
    def moves(self) -> list[Move] | None:
        """What is finished, and where it goes; None before all is, or where some of it is not there any more."""
        if self.left.plan is None:
            return None
        moves = self._moves(self.left.plan)
        return None if any(move.state == "lost" for move in moves) else moves

    def rows(self) -> Iterator[dict[str, Any]]:
        """Read the rows of all sealed maps from the journal, first to last."""
        for entry in read_journal(self.journal_path):
            if entry["kind"] == "segment":
                yield from entry["rows"]

    def begin(self, identity: Mapping[str, Any], tally: Tally) -> None:
        """Open the journal, for a new job or to go on; for a new one, what an earlier run left is removed.

        Parameters
        ----------
        identity
            All that results depend on.
        tally
            Gets what the journal says of the frames of sealed maps.

        Raises
        ------
        SpecError
            When the job to go on with was another one; names what differs. When the journal says of a frame what no
            run has written.
        SinkError
            When the journal cannot be read or written.
        """
        require_same(self.left, identity, self._spec)
        with _explained(self.folders[MAPS].target):
            self._count_kept(tally)
            if self._found.published:
                for folder in self.folders.values():
                    folder.forget_old()
            elif self.moves is None:
                self._take_back()
            for folder in self.folders.values():
                if self.left.n_maps:
                    folder.clear_staged()
                else:
                    folder.clear()
                folder.claim(_owner_of(self._spec))
            self.journal = Journal(self.journal_path)
            self.has_begun = True
            if self.left.identity is None:
                self._n_kept = 0
            if self.left.identity != json.loads(json.dumps(identity)):
                job = {"identity": dict(identity), "places": places(self._spec)}
                self.journal.append({"kind": "job", "journal_format": JOURNAL_FORMAT, **job})

    def _count_kept(self, tally: Tally) -> None:
        if not self.left.n_maps:
            return
        try:
            for row in self.rows():
                check_row(row)
                tally.add(row)
        except JOURNAL_ERRORS as error:
            raise _unreadable(self._spec, f"is damaged: what it says of a frame is invalid ({error!r:.80})") from None

    def seal(self, entry: Mapping[str, Any]) -> None:
        """Record a segment; from now on it counts.

        Raises
        ------
        OSError
            When the journal cannot be written.
        """
        assert self.journal is not None
        self.journal.append(entry)
        self._n_kept = (self._n_kept or 0) + len(entry.get("rows", ()))

    def published(self) -> None:
        """Record that everything has its name; `close` then removes everything else, old files included.

        Raises
        ------
        OSError
            When the journal cannot be written.
        """
        assert self.journal is not None
        self.journal.append({"kind": "published"})
        self._n_kept, self._is_published = 0, True

    def release(self) -> None:
        """Leave the folders as they are. Safe to call twice."""
        for folder in self.folders.values():
            folder.release()

    def close(self) -> int:
        """Leave the folders; unless maps are sealed in them, remove them. Return how many maps are kept."""
        if self.journal is not None:
            self.journal.close()
        if self._n_kept is None:
            self._n_kept = 0
            with contextlib.suppress(OSError):  # what was there before is never removed unread
                self._n_kept = Left.read(self.journal_path).n_kept if MAPS in self.folders else 0
        # That of the maps, which comes first, goes last: as long as there is a journal, a later run tidies up.
        for folder in reversed(self.folders.values()):
            if self._may_remove(folder):
                folder.remove()
            else:
                folder.release()
        self.folders = {}
        return self._n_kept

    def _may_remove(self, folder: WorkFolder) -> bool:
        """Whether nothing is in a folder that could be wanted; before the job begins, what was found there could."""
        if self._is_published:
            return True
        if self._n_kept or folder.old_files() or self._is_of_another(folder):
            return False
        return self.journal is not None or not folder.was_there

    def _moves(self, plan: Iterable[Any]) -> list[Move]:
        return [Move.read(entry, self.folders[entry[0]]) for entry in plan]

    def _take_back(self) -> None:
        """Bring old files that an earlier run has set aside to their names again, before anything else is done."""
        plan, now = self._found.plan or (), places(self._spec)
        for name in sorted({str(entry[0]) for entry in plan}):
            if now.get(name) != self._found.places.get(name):
                raise SpecError(
                    f"output {self._spec.output!r} was made by a run that was cut off as its files took their names, "
                    f"with another {name}; go on with it by --resume, or start anew with the same names"
                )
        if not take_back(self.folders, self._moves(plan)):
            raise SinkError(
                f"output {self._spec.output!r} cannot be written: files of a run that was cut off as they took their "
                f"names cannot be moved; close what has them open"
            )
        self.left.plan = None

    def _is_of_another(self, folder: WorkFolder) -> bool:
        """Whether maps that another job has made and sealed are, or may be, kept in a folder."""
        owner = folder.owner
        if not isinstance(owner, dict) or owner == _owner_of(self._spec) or not isinstance(owner.get("maps"), str):
            return False
        try:
            path = find_work_folder(Path(owner["maps"]))
            return path is not None and Left.read(journal_path(path)).n_kept > 0
        except (SinkError, ValueError, NotADirectoryError):  # what is there is no work of a run
            return False
        except OSError:  # it cannot be looked at, so nobody knows
            return True

    def _require_own(self, name: str, folder: WorkFolder) -> None:
        with _explained(folder.target):
            if self._is_of_another(folder):
                raise SpecError(
                    f"{name} {str(folder.target)!r} was begun by a run of output {folder.owner['maps']!r} that was cut "
                    f"off; go on with that one or start it anew first, or choose another name"
                )
        if self.left.n_maps and folder.owner != _owner_of(self._spec):
            raise SpecError(
                f"--resume cannot go on with output {self._spec.output!r}: what was kept of {name} "
                f"{str(folder.target)!r} is gone; --overwrite instead starts anew"
            )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FramenccError:
        raise
    except OSError as error:
        raise sink_error(path, error) from error


def _owner_of(spec: RunSpec) -> dict[str, str]:
    return {"maps": place(spec.output)}
