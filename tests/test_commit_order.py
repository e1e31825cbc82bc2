"""The last moments of a run: maps and sidecar appear together, or what was there before stays."""

import media
import pytest
from sink_readback import names, visible

from framencc.config import make_spec
from framencc.errors import SinkError
from framencc.pipeline import run
from framencc.pipeline.publishing import Move
from framencc.sidecar import SidecarWriter, read_sidecar
from framencc.sinks.parts import ArrayParts

FAILING = {
    "writing the sidecar": (SidecarWriter, "commit"),
    "making the output whole": (ArrayParts, "complete"),
    "taking the name": (Move, "carry_out"),
}


def run_job(folder, **options):
    job = {"input": str(media.footage()), "output": str(folder / "out.npy"), "reference": 0, **options}
    return run(make_spec(job))


def contents(folder):
    return {name: (folder / name).read_bytes() for name in visible(folder)}


def fail(*_):
    raise SinkError("no space left")


@pytest.mark.parametrize(("part", "step"), FAILING.values(), ids=FAILING)
def test_a_failed_end_leaves_the_old_output_with_its_sidecar_and_can_be_gone_on_with(part, step, tmp_path, monkeypatch):
    run_job(tmp_path, frames="0:3")
    before = contents(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(part, step, fail)
        with pytest.raises(SinkError, match="no space left") as caught:
            run_job(tmp_path, frames="0:2", overwrite=True)
    assert caught.value.__notes__ == ["2 maps are kept; --resume goes on from there"]
    assert contents(tmp_path) == before
    assert len(read_sidecar(tmp_path / "out.npy.json")["frames"]) == 3
    run_job(tmp_path, frames="0:2", overwrite=True, resume=True)
    assert len(read_sidecar(tmp_path / "out.npy.json")["frames"]) == 2
    assert names(tmp_path) == ["out.npy", "out.npy.json"]


def test_a_failed_end_without_an_old_output_leaves_nothing_to_be_seen(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Move, "carry_out", fail)
        with pytest.raises(SinkError, match="no space left"):
            run_job(tmp_path, frames="0:2")
    assert visible(tmp_path) == []
    assert run_job(tmp_path, frames="0:2", resume=True).n_frames == 2


def test_an_output_that_appears_during_the_run_is_not_replaced(tmp_path, monkeypatch):
    complete = ArrayParts.complete

    def complete_late(*arguments):
        (tmp_path / "out.npy").write_text("mine")
        return complete(*arguments)

    monkeypatch.setattr(ArrayParts, "complete", complete_late)
    with pytest.raises(SinkError, match=r"out\.npy' appeared during the run and is not replaced"):
        run_job(tmp_path, frames="0:2")
    assert (tmp_path / "out.npy").read_text() == "mine"
    assert visible(tmp_path) == ["out.npy"]
