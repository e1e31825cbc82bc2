"""The last moments of a run: maps and sidecar appear together, or what was there before stays."""

import media
import pytest

from framencc.config import make_spec
from framencc.errors import SinkError
from framencc.pipeline import run
from framencc.sidecar import SidecarWriter, read_sidecar
from framencc.sinks import ArraySink


def run_job(folder, **options):
    job = {"input": str(media.footage()), "output": str(folder / "out.npy"), "reference": 0, **options}
    return run(make_spec(job))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail(*_):
    raise SinkError("no space left")


def test_a_sidecar_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(SidecarWriter, "prepare", fail)
    with pytest.raises(SinkError, match="no space left"):
        run_job(tmp_path, frames="0:2")
    assert files(tmp_path) == {}


@pytest.mark.parametrize(("part", "step"), [(SidecarWriter, "prepare"), (ArraySink, "commit")])
def test_a_failed_end_leaves_the_old_output_with_its_sidecar(tmp_path, monkeypatch, part, step):
    run_job(tmp_path, frames="0:3")
    before = files(tmp_path)
    monkeypatch.setattr(part, step, fail)
    with pytest.raises(SinkError, match="no space left"):
        run_job(tmp_path, frames="0:2", overwrite=True)
    assert files(tmp_path) == before
    assert len(read_sidecar(tmp_path / "out.npy.json")["frames"]) == 3


def test_a_prepared_sidecar_is_invisible_and_complete_when_it_appears(tmp_path):
    with SidecarWriter(tmp_path / "out.npy") as sidecar:
        sidecar.add_frame({"index": 0})
        sidecar.prepare({"complete": True})
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        path = sidecar.commit({"complete": True})
    assert read_sidecar(path)["frames"] == [{"index": 0}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.npy.json"]
