"""The last step of a run: finished outputs take their names, the maps after all else, and last the sidecar.

Every step is written into the journal before it is taken, so that a run that is cut off here can be gone on with, and
until then no old file is lost: those in the way wait in the work folders.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framencc.errors import SinkError
from framencc.pipeline.workplace import MAPS, Workplace
from framencc.sidecar import SidecarWriter
from framencc.sinks import Product
from framencc.sinks.targets import existing_files
from framencc.staging import sidecar_path, signals_deferred
from framencc.workfolder import WorkFolder

_SIDECAR, _OLD = "sidecar.json", "old"


def write_sidecar(work: Workplace, head: Mapping[str, Any], names: Mapping[str, Path]) -> None:
    """Write the sidecar, durable, into the work folder of the maps.

    Parameters
    ----------
    work
        The work folders; the rows are in their journal.
    head
        What the sidecar says of the whole run.
    names
        Where the outputs are going to be, by their names in the spec.
    """
    folder = work.folders[MAPS]
    outputs = {name: _relative(path, folder.folder) for name, path in names.items()}
    with SidecarWriter(folder.path / _SIDECAR.removesuffix(".json")) as sidecar:
        for row in work.rows():
            sidecar.add_frame(row)
        sidecar.commit({**head, "outputs": outputs})


def publish(
    work: Workplace,
    products: Mapping[str, Product],
    whole: Mapping[str, str],
    names: Mapping[str, Path],
    *,
    overwrite: bool,
) -> tuple[dict[str, Path], Path]:
    """Let everything take its name.

    Parameters
    ----------
    work
        The work folders.
    products
        Everything but the sidecar, by their names in the spec.
    whole
        What they are called in their work folders.
    names
        Where they are going to be.
    overwrite
        Whether they may replace what has these names.

    Returns
    -------
    paths : dict
        The names.
    sidecar : pathlib.Path
        Where their description is.

    Raises
    ------
    SinkError, OSError
        When a name cannot be taken; what had the names before has them still.
    """
    assert work.journal is not None
    sidecar = sidecar_path(names[MAPS])
    # A signal in between would leave some names new and some old.
    with signals_deferred():
        if not work.left.publishing:
            if not overwrite:
                _refuse_newcomers([*names.values(), sidecar])
            try:
                _set_aside(work, names, sidecar)
                work.journal.append({"kind": "publishing"})
            except BaseException:
                _put_back(work)
                raise
            work.left.publishing = True
        try:
            for name in sorted(products, key=lambda name: name == MAPS):
                products[name].publish(work.folders[name].path / whole[name], names[name].name)
            written = work.folders[MAPS].path / _SIDECAR
            if written.exists():
                written.replace(work.folders[MAPS].folder / sidecar.name)
            for folder in work.folders.values():
                folder.sync_names()
        except BaseException:
            _withdraw(work, products, whole, names)
            raise
        work.discard()
    return dict(names), sidecar


def _refuse_newcomers(paths: list[Path]) -> None:
    for path in paths:
        if any(existing_files(path)):
            raise SinkError(f"output {str(path)!r} appeared during the run and is not replaced")


def _set_aside(work: Workplace, names: Mapping[str, Path], sidecar: Path) -> None:
    """Move what is in the way into the work folders, the sidecar first: it must never describe another output."""
    for name, path in [(MAPS, sidecar), *names.items()]:
        folder = work.folders[name]
        old = folder.path / _OLD
        old.mkdir(exist_ok=True)
        for existing in dict.fromkeys(existing_files(folder.folder / path.name)):
            if existing.is_symlink() or not existing.is_dir():  # a folder stays, and stops an output of its name
                existing.replace(old / existing.name)


def _put_back(work: Workplace) -> None:
    for folder in work.folders.values():
        for path in _old_files(folder):
            with contextlib.suppress(OSError):
                path.replace(folder.folder / path.name)


def _withdraw(
    work: Workplace, products: Mapping[str, Product], whole: Mapping[str, str], names: Mapping[str, Path]
) -> None:
    with contextlib.suppress(OSError):
        published = work.folders[MAPS].folder / sidecar_path(names[MAPS]).name
        if not (written := work.folders[MAPS].path / _SIDECAR).exists() and published.exists():
            published.replace(written)
    for name, one in products.items():
        with contextlib.suppress(OSError):
            one.withdraw(work.folders[name].path / whole[name], names[name].name)
    _put_back(work)
    with contextlib.suppress(OSError):
        assert work.journal is not None
        work.journal.append({"kind": "withdrawn"})
    work.left.publishing = False


def _old_files(folder: WorkFolder) -> list[Path]:
    old = folder.path / _OLD
    return list(old.iterdir()) if old.is_dir() else []


def _relative(path: Path, folder: Path) -> str:
    """Name an output as seen from the sidecar, so that both can be moved together."""
    try:
        return Path(os.path.relpath(path.absolute(), folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return str(path.absolute())
