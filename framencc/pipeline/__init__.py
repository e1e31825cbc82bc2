"""One job from end to end; the only place where source, warp, engine and sink meet."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Use
from framencc.pipeline.description import (
    RunDescription,
    describe_encoding,
    describe_stream,
    output_formats,
    preview_layout,
)
from framencc.pipeline.fit import (
    code_scale,
    fit_reference,
    open_preview,
    require_fit,
    selected_numbers,
    settle_depths,
)
from framencc.pipeline.job import Job
from framencc.pipeline.left import MAPS
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.readback import LostWorkError
from framencc.pipeline.tally import Tally, worst_region
from framencc.pipeline.workplace import Workplace, look, require_same, tidy_up
from framencc.scores import Scorer
from framencc.sidecar import read_sidecar, summary_of
from framencc.sinks import check_targets, partial_path
from framencc.sinks.targets import check_names, existing_files, try_folders
from framencc.sources import (
    ReferencePicture,
    SeekPoint,
    Selection,
    Source,
    open_mask,
    open_source,
    read_reference,
    read_regions,
)
from framencc.sources.opening import Opening
from framencc.spec import RunSpec
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
        Where the other outputs are, by their names in the sidecar (validity, warped, fields, preview, scores ...).
    n_failed_warps
        For how many frames no warp was found.
    n_resumed
        How many of the maps an earlier run had made.
    n_damaged
        How many frames are damaged; 0 unless `spec.tolerant`.
    lowest
        The frame of the lowest mean confidence: its ``index``, ``pts_seconds`` and the ``value``. None where nothing
        was measured.
    n_below
        How many frames have a mean confidence below `spec.scores.threshold`.
    worst_region
        The region that has the lowest mean confidence of all: its ``name``, of the frame ``index`` and ``pts_seconds``,
        the ``value``, and ``n_below``, as above for the region alone. None where no region was measured.
    unmeasured
        Where some frames hold no measurement: how many (``n_frames``), the ``first`` of them (``index`` and
        ``pts_seconds``) and the ``reason`` that most of their pixels have. None where all hold one.
    warnings
        What a user should know of the inputs although the run could use them.
    """

    output: Path
    sidecar: Path
    n_frames: int
    mean_confidence: float | None
    seconds: float
    others: Mapping[str, Path] = field(default_factory=dict)
    n_failed_warps: int = 0
    n_resumed: int = 0
    n_damaged: int = 0
    lowest: Mapping[str, Any] | None = None
    n_below: int = 0
    worst_region: Mapping[str, Any] | None = None
    unmeasured: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def run(spec: RunSpec, *, progress: bool = False, opening: Opening | None = None) -> RunReport:
    """Carry out a job.

    Parameters
    ----------
    spec
        What to do.
    progress
        Show a progress bar on stderr, if that is a terminal.
    opening
        The input, if it is being opened already; not for a job with `resume`.

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
    check_names(spec)
    if spec.resume and (done := _finished_before(spec)) is not None:
        return done
    check_targets(spec, published=look(spec).plan is not None and spec.resume)
    with contextlib.ExitStack() as cleanup:
        work = cleanup.enter_context(_workplace(spec))
        left, tally = work.left, Tally(spec.scores.threshold)
        nothing_left = left.ended or Selection.parse(spec.frames).exhausted_by(left.n_maps)
        n_done = 0 if nothing_left else left.n_maps
        stages = Stages(spec, cleanup, n_done, left.points, ahead=not nothing_left, opening=opening)
        work.begin(stages.description.identity(), tally)
        outputs = cleanup.enter_context(contextlib.closing(Outputs(spec, stages.formats, work)))
        outputs.warnings = lambda: tuple(dict.fromkeys([*left.warnings, *stages.warnings]))
        damage = left.damage
        if not left.ended:
            job = Job(
                *(spec, stages.source, stages.reference, stages.scorer, outputs),
                tally=tally,
                warp=stages.warp,
                preview=stages.preview,
                progress=progress,
            )
            damage = _carry_out(job, outputs, nothing_left=nothing_left)
        seconds = time.perf_counter() - started
        warnings = outputs.warnings()
        head = stages.description.head(tally, seconds, damage, left.n_maps, warnings)
        paths, sidecar = outputs.commit(head, damage, progress=progress)
    output = paths.pop(MAPS)
    if damage is not None:
        raise _partial(damage, tally.n_frames, output, warnings)
    return _report(output, sidecar, paths, tally.summary(), seconds, left.n_maps, warnings)


def _report(
    output: Path,
    sidecar: Path,
    others: Mapping[str, Path],
    summary: Mapping[str, Any],
    seconds: float,
    n_resumed: int,
    warnings: Sequence[str],
) -> RunReport:
    return RunReport(
        output,
        sidecar,
        summary["n_frames"],
        summary["mean_confidence"],
        seconds,
        others,
        n_failed_warps=summary["failed_warps"],
        n_resumed=n_resumed,
        n_damaged=summary["damaged_frames"],
        lowest=summary["scores"]["mean_confidence"]["worst"],
        n_below=summary["frames_below_threshold"],
        worst_region=worst_region(summary),
        unmeasured=summary["unmeasured_frames"],
        warnings=tuple(warnings),
    )


def _partial(damage: str | None, n_maps: int, output: Path, warnings: Sequence[str]) -> DamagedInputError:
    error = DamagedInputError(f"{damage}; {n_maps} maps are kept in {str(output)!r}")
    error.warnings = tuple(warnings)
    return error


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
    ahead
        Whether frames are going to be read.
    opening
        The input, if it is being opened already.
    """

    def __init__(
        self,
        spec: RunSpec,
        cleanup: contextlib.ExitStack,
        done: int = 0,
        points: Sequence[SeekPoint] = (),
        *,
        ahead: bool = False,
        opening: Opening | None = None,
    ) -> None:
        source = cleanup.enter_context(open_source(spec, done, points) if opening is None else opening.take())
        if ahead:
            source.read_ahead()  # the reference, if it is a frame, takes as long to fetch as the first one
        picture, source.info = settle_depths(read_reference(spec, source), source.info, spec)
        require_fit(picture, source.info, spec)
        self.source, mask = open_mask(spec, source, done)
        cleanup.callback(self.source.close)
        self.warp = _open_warp(spec, self.source, picture, mask)
        if self.warp is not None:
            cleanup.enter_context(self.warp.limited())
        gain = 1 if self.warp is None else self.warp.gain
        self.formats = output_formats(spec, source.info, gain)
        regions = read_regions(spec, source.info)
        self.description = RunDescription(spec, self.source, picture, regions)
        self.description.gain = None if self.warp is None else gain
        self._reference_warnings = picture.warnings
        self.reference = fit_reference(picture, mask, source.info, spec, gain)
        self.scorer = Scorer(
            (source.info.height, source.info.width),
            picture.data if picture.data.ndim == 3 else picture.data[np.newaxis],
            scale=code_scale(picture, source.info, gain),
            threshold=spec.scores.threshold,
            regions=regions,
            threads=spec.threads,
        )
        self.preview = None
        if spec.preview is not None:
            self.preview = open_preview(picture, preview_layout(spec, source.info), source.info, spec, gain)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the inputs although the job can use them; complete once all has been read."""
        found = [*self.source.warnings, *self._reference_warnings, *(self.warp.warnings if self.warp else ())]
        return tuple(dict.fromkeys(found))


def _carry_out(job: Job, outputs: Outputs, *, nothing_left: bool) -> str | None:
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
    outputs.end(damage)
    return damage


def _finished_before(spec: RunSpec) -> RunReport | None:
    """Return the report of a run of the same job whose outputs are all there; None where there is none.

    Raises
    ------
    DamagedInputError
        When that run has kept what there was before damage of the same input.
    """
    began = time.perf_counter()
    names = {name: Path(path) for name, path in spec.targets.items()}
    partial = {name: partial_path(path) for name, path in names.items()}
    if look(spec).n_maps:
        return None
    for paths in (names, partial):
        content = _sidecar_of(paths)
        if content is None:
            continue
        with contextlib.ExitStack() as cleanup:
            if content.get("job") != Stages(spec, cleanup).description.digest():
                continue
        summary = summary_of(content)
        if summary is None:
            continue
        tidy_up(spec)
        output, warnings = paths.pop(MAPS), content.get("warnings", ())
        if content.get("complete") is not True:
            raise _partial(content.get("error"), summary["n_frames"], output, warnings)
        seconds = time.perf_counter() - began
        return _report(output, sidecar_path(output), paths, summary, seconds, summary["n_frames"], warnings)
    return None


def _sidecar_of(names: Mapping[str, Path]) -> dict[str, Any] | None:
    """Return the sidecar of outputs that are all there, with the sizes that they had; None where they are not."""
    try:
        content = read_sidecar(sidecar_path(names[MAPS]))
    except SourceError:
        return None  # there is none, or it is no sidecar of ours
    for name, path in names.items():
        files = [file for file in dict.fromkeys(existing_files(path)) if file.is_file()]
        found = {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
        if found != content.get("sizes", {}).get(name):
            return None
    return content


@contextlib.contextmanager
def _workplace(spec: RunSpec) -> Iterator[Workplace]:
    """Lock the work folders; when the run fails, say what is kept in them and how to go on."""
    work = Workplace(spec)
    try:
        yield work
    except BaseException as error:
        n_kept = work.close()
        # What was found wrong before the work began has nothing to do with what was kept.
        if n_kept and not isinstance(error, LostWorkError) and (work.has_begun or not isinstance(error, SpecError)):
            error.add_note(f"{n_kept} maps are kept; --resume goes on from there")
        raise
    # All is published: an interrupt leaves old files and empty folders, which a later run removes.
    try:
        work.close()
    except BaseException:
        work.release()
        raise


def describe(spec: RunSpec) -> dict[str, Any]:
    """Say what `run` would do, after all the checks that need no decoding of the whole input.

    Raises
    ------
    FramenccError
        As `run` does, where the reason can be seen beforehand.
    """
    check_names(spec)
    left = look(spec)
    finished = spec.resume and _finished_before(spec) is not None
    if not finished:
        check_targets(spec, published=left.plan is not None and spec.resume)
        try_folders(spec)
    with contextlib.ExitStack() as cleanup:
        stages = Stages(spec, cleanup)
        if spec.resume:
            require_same(left, stages.description.identity(), spec)
        return {
            "spec": json.loads(spec.model_dump_json()),
            # Wherever a config's `..` and links lead.
            **{name: os.path.realpath(path) for name, path in spec.targets.items()},
            "sidecar": os.path.realpath(sidecar_path(spec.output)),
            "encoding": describe_encoding(spec),
            "stream": describe_stream(stages.source.info),
            "reference": stages.description.reference,
            "mask": stages.description.mask,
            "regions": stages.description.regions,
            "maps_to_resume_from": left.n_maps if spec.resume else 0,
            "finished": finished,
            "warnings": stages.warnings,
        }


def _open_warp(spec: RunSpec, source: Source, picture: ReferencePicture, mask: Use | None) -> WarpStage | None:
    try:
        return open_warp(
            spec.warp,
            picture.data,
            code_range=source.info.code_range,
            reference_range=picture.code_range,
            selected=selected_numbers(spec, source),
            region=mask,
            n_frames=source.n_input_frames,
            threads=spec.threads,
            tolerant=spec.tolerant,
        )
    except DamagedInputError as error:
        # Exit code 3 promises a partial result; before the first frame there is none.
        raise SourceError(str(error)) from None
