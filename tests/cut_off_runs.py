"""What the tests of runs that are cut off share: a clip, a job over it, a way to end it, and what it has left."""

from pathlib import Path
from typing import Any

import media
import pytest
from running import assert_nothing_runs
from sink_readback import visible

from framencc.config import make_spec
from framencc.pipeline import run
from framencc.pipeline.outputs import Outputs
from framencc.sidecar import read_sidecar
from framencc.spec import RunSpec

N_FRAMES, N_SEGMENT = 40, 8


class CutOff(BaseException):
    """What a signal does to a run."""


def short_clip(path: Path) -> Path:
    """Make a clip of real footage with several key frames, so that there is something to seek to."""
    options = ("-frames:v", N_FRAMES, "-c:v", "libx264", "-g", 6, "-bf", 2, "-an")
    media.ffmpeg("-i", media.footage(), *options, path)
    return path


def job_over(clip: Path, **options: object) -> RunSpec:
    """Describe a job over a clip."""
    values = {"input": str(clip), "output": "out.mkv", "reference": 0, "segment_frames": N_SEGMENT}
    return make_spec(values | options)


def cut_off(spec: RunSpec, monkeypatch: pytest.MonkeyPatch, n_maps: int) -> CutOff:
    """Run a job until it has written some maps."""
    write, calls = Outputs.write, iter(range(n_maps))

    def write_or_end(*arguments: object) -> None:
        if next(calls, None) is None:
            raise CutOff
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", write_or_end)
        with pytest.raises(CutOff) as caught:
            run(spec)
    assert_nothing_runs()
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files that are to be seen."""
    paths = (folder / name for name in visible(folder))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def maps_of(folder: Path) -> dict[str, bytes]:
    """Read everything but the sidecar, which tells how long the run took."""
    return {name: content for name, content in contents(folder).items() if not name.endswith(".json")}


def rows_of(folder: Path, output: str) -> list[dict[str, Any]]:
    """Read what the sidecar says of the frames."""
    return read_sidecar(folder / (output + ".json"))["frames"]
