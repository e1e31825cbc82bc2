"""The last step of a run: finished files take their names, the maps after all else, and last the sidecar.

What is to be moved where is written into the journal beforehand, with what tells each file from any other. So a run
that is cut off here can be gone on with or taken back file by file, nothing that others put at a name is taken for
ours, and no old file is lost: those in the way wait in the work folders until all is done.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from framencc.errors import SinkError
from framencc.sidecar import SidecarWriter
from framencc.sinks.targets import as_spelled, existing_files
from framencc.staging import require_plain_name, sidecar_path, signals_deferred
from framencc.workfolder import WorkFolder

SIDECAR = "sidecar.json"
Identity = tuple[int, int]


def identity_of(path: Path) -> Identity | None:
    """Return what stays of a file when it is renamed: its size, and its number on the disk.

    None where there is no regular file.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


@dataclass(frozen=True, slots=True)
class Move:
    """A finished file on its way to its name.

    Parameters
    ----------
    output
        The output that it belongs to, by its name in the spec.
    source, target
        Where it waits, and where it is going to be.
    identity
        By which it is known in either place.
    """

    output: str
    source: Path
    target: Path
    identity: Identity

    @property
    def state(self) -> Literal["waiting", "done", "lost"]:
        """Where the file is."""
        if identity_of(self.source) == self.identity:
            return "waiting"
        return "done" if identity_of(self.target) == self.identity else "lost"

    def carry_out(self) -> None:
        """Give the file its name, if it has not got it.

        Raises
        ------
        SinkError
            When it is in neither place.
        OSError
            When the name cannot be taken.
        """
        if self.state == "waiting":
            self.source.replace(self.target)
        if self.state != "done":
            raise SinkError(f"output {str(self.target)!r} has changed or gone while it waited for its name")

    def take_back(self) -> None:
        """Undo `carry_out`."""
        if self.state == "done":
            self.target.replace(self.source)

    def as_json(self, folder: WorkFolder) -> list[Any]:
        """Return it as the journal has it."""
        source = self.source.relative_to(folder.path).as_posix()
        return [self.output, source, self.target.name, list(self.identity)]

    @classmethod
    def read(cls, entry: Sequence[Any], folder: WorkFolder) -> "Move":
        """Read it from the journal, which has been checked by `check_move`."""
        output, source, target, identity = entry
        size, number = identity
        return cls(output, folder.path / source, folder.folder / target, (size, number))


def check_move(entry: Any) -> None:
    """Refuse what no `Move.as_json` has written, whoever has.

    Raises
    ------
    ValueError
        When it names something outside the work folder or the output's own folder, or is no move at all.
    """
    output, source, target, identity = entry
    size, number = identity
    if not all(isinstance(one, str) for one in (output, source, target)) or {type(size), type(number)} != {int}:
        raise ValueError("a move is not as it was written")
    for part in (*source.split("/"), target):
        require_plain_name(part)


def write_sidecar(
    folder: WorkFolder, head: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], names: Mapping[str, Path]
) -> Path:
    """Write the sidecar, durable, into the work folder of the maps.

    Parameters
    ----------
    folder
        The work folder.
    head
        What the sidecar says of the whole run.
    rows
        What it says of each frame.
    names
        Where the outputs are going to be, by their names in the spec.
    """
    outputs = {name: _relative(path, folder.folder) for name, path in names.items()}
    with SidecarWriter(folder.path / SIDECAR.removesuffix(".json")) as sidecar:
        for row in rows:
            sidecar.add_frame(row)
        return sidecar.commit({**head, "outputs": outputs})


def publish(
    folders: Mapping[str, WorkFolder],
    moves: Sequence[Move],
    names: Sequence[tuple[str, Path]],
    *,
    overwrite: bool,
    done: Callable[[], None],
) -> None:
    """Let everything take its name. Safe to repeat after it was cut off.

    Parameters
    ----------
    folders
        The work folders, by the outputs' names in the spec.
    moves
        What goes where, in order.
    names
        Everything that must not be there but for what is ours, with the output whose work folder takes it.
    overwrite
        Whether something else may be replaced.
    done
        Writes down that everything has its name: from then on nothing is taken back.

    Raises
    ------
    SinkError, OSError
        When a name cannot be taken; what had the names before has them again.
    """
    # A signal would leave some names new and some old, so it interrupts only between two files, and all is undone.
    with signals_deferred() as interrupt:
        try:
            for move in moves:
                interrupt()
                if move.state == "lost":
                    raise SinkError(f"output {str(move.target)!r} has changed or gone while it waited for its name")
            _set_aside(folders, moves, names, overwrite=overwrite, interrupt=interrupt)
            for move in moves:
                interrupt()
                move.carry_out()
            interrupt()
            for folder in folders.values():
                folder.sync_names()
            done()
        except BaseException:
            take_back(folders, moves)
            raise


def take_back(folders: Mapping[str, WorkFolder], moves: Sequence[Move]) -> bool:
    """Undo what `publish` has done, as far as the system lets it: old files have their names again.

    Returns
    -------
    bool
        Whether nothing is left to be undone: what keeps its old file from its name is somebody else's.
    """
    for move in moves:
        with contextlib.suppress(OSError):
            move.take_back()
    for folder in folders.values():
        for path in folder.old_files():
            name = folder.folder / path.name
            if not os.path.lexists(name):
                with contextlib.suppress(OSError):
                    path.replace(name)
    is_back = all(
        os.path.lexists(folder.folder / path.name) for folder in folders.values() for path in folder.old_files()
    )
    return is_back and not any(move.state == "done" for move in moves)


def all_names(names: Mapping[str, Path], maps: str) -> list[tuple[str, Path]]:
    """List the names of outputs and of the maps' sidecar, the sidecar first: it must never describe other maps."""
    return [(maps, sidecar_path(names[maps])), *names.items()]


def _set_aside(
    folders: Mapping[str, WorkFolder],
    moves: Sequence[Move],
    names: Sequence[tuple[str, Path]],
    *,
    overwrite: bool,
    interrupt: Callable[[], None],
) -> None:
    ours = {move.target: move.identity for move in moves}
    for output, path in names:
        folder = folders[output]
        for existing in dict.fromkeys(existing_files(folder.folder / path.name)):
            interrupt()
            if existing in ours and identity_of(existing) == ours[existing]:
                continue
            if existing.is_dir() and not existing.is_symlink():
                raise SinkError(f"output {str(path)!r} cannot replace the folder {str(existing)!r}")
            if not overwrite:
                raise SinkError(f"output {str(path)!r} appeared during the run and is not replaced")
            folder.set_aside(existing)
    for move in moves:  # the disk may know a name by spellings that nobody thought of
        interrupt()
        if os.path.lexists(move.target) and identity_of(move.target) != move.identity:
            if not overwrite:
                raise SinkError(f"output {str(move.target)!r} appeared during the run and is not replaced")
            folders[move.output].set_aside(as_spelled(move.target))


def _relative(path: Path, folder: Path) -> str:
    """Name an output as seen from the sidecar, so that both can be moved together."""
    try:
        return Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive of Windows
        return str(path.absolute())
