"""The lowest and the mean rho that each pixel has over the whole clip.

They are taken from the maps as they are made, not read back from the output: that may hold 8-bit codes only, or be
lossy. What has added up is sealed with every segment, so that a run that was cut off goes on with it. Minima and sums
of integers do not depend on where that was, so the result has the same bits.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from framencc.frames import Picture, frozen
from framencc.kernels.clip_maps import add_map
from framencc.kernels.launch import count_bands, default_threads, launch
from framencc.kernels.scoring import UNITS_PER_ONE
from framencc.spec import MEAN, MINIMUM
from framencc.staging import hidden_name, sync_file, sync_folder

__all__ = ["MEAN", "MINIMUM", "ClipMaps"]

# What stands for a state that is not kept.
_NOTHING = {"lowest": np.empty((0, 0), np.float32)} | {
    name: np.empty((0, 0), dtype) for name, dtype in (("totals", np.int64), ("counts", np.int32))
}


class ClipMaps:
    """What has added up over the maps so far.

    Parameters
    ----------
    names
        Which are wanted: MINIMUM, MEAN or both.
    shape
        Height and width of the maps.
    threads
        Kernel threads; all cores if omitted.
    """

    def __init__(self, names: Collection[str], shape: tuple[int, int], threads: int | None = None) -> None:
        self._threads = threads or default_threads()
        self._shape = shape
        self._state: dict[str, Picture] = {}
        if MINIMUM in names:
            self._state["lowest"] = np.full(shape, np.inf, np.float32)
        if MEAN in names:
            self._state |= {"totals": np.zeros(shape, np.int64), "counts": np.zeros(shape, np.int32)}
        self._kept: dict[int, dict[str, Picture]] = {}
        self._sealed: Path | None = None

    def add(self, rho: Picture, validity: Picture) -> None:
        """Add the next map."""
        wanted = [self._state.get(name, empty) for name, empty in _NOTHING.items()]
        n_bands = count_bands(self._shape[0], self._threads)
        launch(add_map, self._threads, frozen(rho), frozen(validity), n_bands, *wanted)

    def keep(self, n_maps: int) -> None:
        """Remember the state after so many maps for `seal`, which comes when the last of them has been written."""
        self._kept[n_maps] = {name: array.copy() for name, array in self._state.items()}

    def seal(self, n_maps: int, folder: Path) -> dict[str, Any]:
        """Write the state after so many maps into a folder, durable; return how to know it again.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        state = self._kept.pop(n_maps, self._state)  # where nothing was kept, no map follows
        path = folder / _file_name(n_maps)
        hidden = folder / hidden_name(path.name)
        with hidden.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
        sync_file(hidden)
        hidden.replace(path)
        sync_folder(folder)
        return {"file": path.name, "sha256": _sha256(path)}

    def forget_before(self, n_maps: int, folder: Path) -> None:
        """Remove the states that were sealed before the one after so many maps."""
        for path in folder.glob("clip_maps_*.npz"):
            if path.name < _file_name(n_maps):
                path.unlink(missing_ok=True)

    def restore(self, record: Mapping[str, Any], folder: Path) -> None:
        """Go on with a sealed state.

        Raises
        ------
        OSError, ValueError, KeyError
            When it is not as it was sealed.
        """
        path = folder / str(record["file"])
        if _sha256(path) != record["sha256"]:
            raise ValueError(f"{path.name!r} has changed")
        with np.load(path, allow_pickle=False) as stored:
            state = {name: stored[name] for name in self._state}
        for name, array in self._state.items():
            if (state[name].shape, state[name].dtype) != (array.shape, array.dtype):
                raise ValueError(f"{path.name!r} holds a {name} of another size")
        self._state = state

    def result(self, name: str) -> Picture:
        """Return a map of the clip, (H, W) float32; NaN where no frame measured the pixel."""
        if name == MINIMUM:
            lowest = self._state["lowest"]
            return np.where(np.isinf(lowest), np.float32(np.nan), lowest)
        totals, counts = self._state["totals"], self._state["counts"]
        with np.errstate(invalid="ignore"):
            return (totals / UNITS_PER_ONE / counts).astype(np.float32)


def _file_name(n_maps: int) -> str:
    return f"clip_maps_{n_maps:09d}.npz"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
