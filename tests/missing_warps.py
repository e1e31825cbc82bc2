"""A clip with frames for which no warp is found, and what must then be true of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_motion import codes, face, moved_by_matrix
from PIL import Image

from framencc import run
from framencc.config import make_spec
from framencc.sidecar import read_sidecar

SIZE, N = 128, 10
BAD, RESTART = (0, 2, 3, 4, 9), 4  # the first of two chains, two in a row, the last of the clip
GOOD = tuple(index for index in range(N) if index not in BAD)
FACES = {"radius": 5, "noise_sigma": 3, "flat": 1}
METHODS = ("translation", "euclidean", "homography", "flow")
NO_WARP = 9


def begin(folder: Path) -> Path:
    """Write the reference and the clip into the working folder, and return that."""
    Image.fromarray(reference()).save("ref.png")
    save(90)
    return folder


def reference() -> np.ndarray:
    return np.ascontiguousarray(face()[60 : 60 + SIZE, 160 : 160 + SIZE])


def moving() -> np.ndarray:
    shifts = [np.array([[1, 0, 0.7 * index], [0, 1, -0.5 * index], [0, 0, 1]]) for index in range(N)]
    return np.stack([codes(moved_by_matrix(reference(), shift)) for shift in shifts])


def save(bad: Any, at: tuple[int, ...] = BAD, name: str = "in.npy", dtype: type = np.uint8) -> None:
    """Write the clip with some frames replaced."""
    clip = moving().astype(dtype)
    clip[list(at)] = bad
    np.save(name, clip)


def job(output: str = "o.npy", method: str = "flow", warp: dict[str, Any] | None = None, **options: Any) -> Any:
    warp = {"method": method, "restart": RESTART} | (warp or {})
    values = {"input": "in.npy", "output": output, "reference": "ref.png", "validity": f"v_{output}", "ncc": FACES}
    return make_spec(values | {"warp": warp} | options)


def go(output: str = "o.npy", method: str = "flow", **options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    report = run(job(output, method, **options))
    return np.load(output), np.load(f"v_{output}"), read_sidecar(report.sidecar)


def assert_not_measured(maps: np.ndarray, validity: np.ndarray, sidecar: dict[str, Any], bad: tuple[int, ...]) -> None:
    """The frames of these places hold nothing, and that is said and counted; all others do hold something."""
    for index, row in enumerate(sidecar["frames"]):
        failed = index in bad
        assert ((validity[index] == NO_WARP).all(), (validity[index] == NO_WARP).any()) == (failed, failed)
        assert (row["mean_confidence"] is None) == failed
        if failed:
            assert (maps[index] == sidecar["spec"]["ncc"]["fill"]).all()
            assert row["code_shares"] == [0.0] * NO_WARP + [1.0]
            assert row["valid_share"] == 0
            assert {row[name] for name in ("median", "p05", "p95", "share_below", "gain", "warp_magnitude")} == {None}
            assert set(row["warp"]) == {"status", "problem"}
            assert row["warp"]["status"] == "invalid"
            assert row["warp"]["problem"]
    assert sidecar["validity_codes"][NO_WARP] == "no warp was found"
    summary = sidecar["summary"]
    assert (summary["failed_warps"], summary["damaged_frames"]) == (len(bad), 0)
    first = sidecar["frames"][bad[0]]
    assert summary["unmeasured_frames"] == {
        "n_frames": len(bad),
        "first": {"index": first["index"], "pts_seconds": first["pts_seconds"]},
        "reason": "no warp was found",
    }
    means = [row["mean_confidence"] for row in sidecar["frames"] if row["mean_confidence"] is not None]
    assert summary["mean_confidence"] == pytest.approx(np.mean(means))
    assert summary["scores"]["mean_confidence"]["worst"]["value"] == min(means)
