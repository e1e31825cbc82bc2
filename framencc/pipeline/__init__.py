"""One job from end to end; the only place where source, warp, engine and sink meet."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framencc.errors import DamagedInputError, SourceError, SpecError, WarpError
from framencc.frames import Use
from framencc.pipeline.description import (
    RunDescription,
    describe_encoding,
    describe_stream,
    output_formats,
    preview_layout,
)
from framencc.pipeline.fit import fit_reference, open_preview, require_fit
from framencc.pipeline.job import Job, Tally
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.workplace import MAPS, Workplace, look, tidy_up
from framencc.sidecar import read_sidecar
from framencc.sinks import check_targets
from framencc.sinks.targets import existing_files, try_folders
from framencc.sources import ReferencePicture, SeekPoint, Selection, Source, open_mask, open_source, read_reference
from framencc.spec import RunSpec, parse_frames
from framencc.staging import sidecar_path
from framencc.warps import WarpStage, open_warp

__all__ = ["RunReport", "describe", "run"]


@dataclass(frozen=True)
class RunReport:
    """What a finished run says of itself.

    Parameters
    ----------
    output, sidecar
        Where the maps and their description are.
    n_frames
        How many maps were written.
    mean_confidence
        Mean over the frames of their mean rho over measured pixels, or None where nothing was measured.
    seconds
        Wall time of the whole run.
    others
        Where the other outputs are, by their names in the spec (validity, warped, fields, preview).
    n_failed_warps
        For how many frames no warp was found.
    n_resumed
        How many of the maps an earlier run had made.
    """

    output: Path
    sidecar: Path
    n_frames: int
    mean_confidence: float | None
    seconds: float
    others: Mapping[str, Path] = field(default_factory=dict)
    n_failed_warps: int = 0
    n_resumed: int = 0


def run(spec: RunSpec, *, progress: bool = False) -> RunReport:
    """Carry out a job.

    Parameters
    ----------
    spec
        What to do.
    progress
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    RunReport
        Where the result is. Beside the output stands its sidecar, OUTPUT.json.

    Raises
    ------
    SpecError
        When the job cannot be done as written, for example because the output exists or the sizes differ.
    SourceError, SinkError
        When reading or writing fails; nothing is left at the output's name.
    DamagedInputError
        When the input ends in damage: the maps before it are kept beside the output, as ``NAME.partial.EXT``.
    """
    started = time.perf_counter()
    if spec.resume and (done := _finished_before(spec)) is not None:
        return done
    check_targets(spec, published=spec.resume and look(spec).publishing)
    with contextlib.ExitStack() as cleanup:
        work = cleanup.enter_context(_workplace(spec))
        left, tally = work.left, Tally()
        nothing_left = left.ended or Selection.parse(spec.frames).exhausted_by(left.n_maps)
        stages = Stages(spec, cleanup, 0 if nothing_left else left.n_maps, left.points)
        work.begin(stages.description.identity())
        outputs = cleanup.enter_context(contextlib.closing(Outputs(spec, stages.formats, work)))
        for row in work.rows():
            tally.add(row)
        damage = left.damage
        if not left.ended:
            job = Job(
                spec,
                stages.source,
                stages.reference,
                outputs,
                tally=tally,
                warp=stages.warp,
                preview=stages.preview,
                progress=progress,
            )
            damage = _carry_out(job, outputs, work, nothing_left=nothing_left)
        seconds = time.perf_counter() - started
        head = stages.description.head(tally, seconds, damage, left.n_maps)
        paths, sidecar = outputs.commit(head, damage, progress=progress)
    output = paths.pop(MAPS)
    if damage is not None:
        raise DamagedInputError(f"{damage}; {tally.n_frames} maps are kept in {str(output)!r}") from None
    n_frames, mean, n_failed = tally.n_frames, tally.mean_confidence, tally.n_failed_warps
    return RunReport(output, sidecar, n_frames, mean, seconds, paths, n_failed, left.n_maps)


class Stages:
    """Everything that a job reads and computes with, open and found to fit.

    Parameters
    ----------
    spec
        The job.
    cleanup
        Closes it all in the end.
    done
        How many frames are done.
    points
        Frames of the input that have been read before.
    """

    def __init__(
        self, spec: RunSpec, cleanup: contextlib.ExitStack, done: int = 0, points: Sequence[SeekPoint] = ()
    ) -> None:
        source = cleanup.enter_context(open_source(spec, done, points))
        picture = read_reference(spec, source)
        require_fit(picture, source.info, spec)
        self.source, mask = open_mask(spec, source, done)
        cleanup.callback(self.source.close)
        self.warp = _open_warp(spec, self.source, picture, mask)
        if self.warp is not None:
            cleanup.enter_context(self.warp.limited())
        gain = 1 if self.warp is None else self.warp.gain
        self.formats = output_formats(spec, source.info, gain)
        self.description = RunDescription(spec, self.source, picture)
        self.description.gain = None if self.warp is None else gain
        self.reference, self.description.rescaled = fit_reference(picture, mask, source.info, spec, gain)
        self.preview = None
        if spec.preview is not None:
            self.preview = open_preview(picture, preview_layout(spec, source.info), source.info, spec, gain)


def _carry_out(job: Job, outputs: Outputs, work: Workplace, *, nothing_left: bool) -> str | None:
    """Make the maps that are left; return why they end before the input does, or None where they do not."""
    damage = None
    try:
        if not nothing_left:
            job.carry_out()
    except DamagedInputError as error:
        if job.tally.n_frames == 0:
            # Exit code 3 promises a partial result, and there is none.
            raise SourceError(str(error)) from None
        damage = str(error)
    except (SpecError, WarpError):
        work.discard()  # whatever is done about it makes another job
        raise
    outputs.end(damage)
    return damage


def _finished_before(spec: RunSpec) -> RunReport | None:
    """Return the report of a run of the same job whose outputs are all there; None where there is none."""
    began = time.perf_counter()
    path = sidecar_path(spec.output)
    if not path.exists() or look(spec).n_maps:
        return None
    try:
        content = read_sidecar(path)
    except SourceError:
        return None  # it is no sidecar of ours, and in the way
    names = {name: Path(text) for name, text in spec.outputs.items()}
    if content.get("complete") is not True or not all(any(existing_files(name)) for name in names.values()):
        return None
    with contextlib.ExitStack() as cleanup:
        if content.get("job") != Stages(spec, cleanup).description.digest():
            return None
    tidy_up(spec)
    summary = content["summary"]
    return RunReport(
        names.pop(MAPS),
        path,
        summary["n_frames"],
        summary["mean_confidence"],
        time.perf_counter() - began,
        names,
        summary["failed_warps"],
        summary["n_frames"],
    )


@contextlib.contextmanager
def _workplace(spec: RunSpec) -> Iterator[Workplace]:
    """Lock the work folders; when the run fails, say what is kept in them and how to go on."""
    work = Workplace(spec)
    try:
        yield work
    except BaseException as error:
        n_kept = work.close()
        if n_kept and not isinstance(error, SpecError):
            error.add_note(f"{n_kept} maps are kept; --resume goes on from there")
        raise
    work.close()


def describe(spec: RunSpec) -> dict[str, Any]:
    """Say what `run` would do, after all the checks that need no decoding of the whole input.

    Raises
    ------
    FramenccError
        As `run` does, where the reason can be seen beforehand.
    """
    check_targets(spec, published=spec.resume and look(spec).publishing)
    try_folders(spec)
    with contextlib.ExitStack() as cleanup:
        stages = Stages(spec, cleanup)
        return {
            "spec": json.loads(spec.model_dump_json()),
            # Wherever a config's `..` and links lead.
            **{name: os.path.realpath(path) for name, path in spec.outputs.items()},
            "sidecar": os.path.realpath(sidecar_path(spec.output)),
            "encoding": describe_encoding(spec),
            "stream": describe_stream(stages.source.info),
            "reference": stages.description.reference,
            "mask": stages.description.mask,
            "maps_to_resume_from": look(spec).n_maps if spec.resume else 0,
        }


def _selected(spec: RunSpec, source: Source) -> Sequence[int] | None:
    """Return the numbers of the selected frames; None where all are, or only reading tells."""
    if spec.frames is None:
        return None
    frames = parse_frames(spec.frames)
    if source.n_input_frames is not None:
        return range(source.n_input_frames)[frames]
    return None if frames.stop is None else range(frames.start, frames.stop, frames.step)


def _open_warp(spec: RunSpec, source: Source, picture: ReferencePicture, mask: Use | None) -> WarpStage | None:
    try:
        return open_warp(
            spec.warp,
            picture.data,
            bits=source.info.bits,
            reference_bits=picture.bits,
            selected=_selected(spec, source),
            region=mask,
            n_frames=source.n_input_frames,
            threads=spec.threads,
        )
    except DamagedInputError as error:
        # Exit code 3 promises a partial result; before the first frame there is none.
        raise SourceError(str(error)) from None
