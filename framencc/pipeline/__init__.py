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
from framencc.pipeline.description import RunDescription, describe_encoding, describe_stream, output_formats
from framencc.pipeline.fit import fit_reference, require_fit
from framencc.pipeline.job import Job, Tally
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.workplace import MAPS, Workplace, look, tidy_up
from framencc.sidecar import read_sidecar
from framencc.sinks import check_targets
from framencc.sinks.targets import existing_files, try_folders
from framencc.sources import ReferencePicture, Selection, Source, open_mask, open_source, read_reference
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
        Where the other outputs are, by their names in the spec (validity, warped, fields).
    n_failed_warps
        For how many frames no warp was found.
    """

    output: Path
    sidecar: Path
    n_frames: int
    mean_confidence: float | None
    seconds: float
    others: Mapping[str, Path] = field(default_factory=dict)
    n_failed_warps: int = 0


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
    with contextlib.ExitStack() as cleanup:
        if spec.resume and (done := _finished_before(spec)) is not None:
            return done
        check_targets(spec, published=spec.resume and look(spec).publishing)
        work = cleanup.enter_context(_workplace(spec))
        left = work.left
        nothing_left = left.ended or Selection.parse(spec.frames).exhausted_by(left.n_maps)
        source = cleanup.enter_context(open_source(spec, 0 if nothing_left else left.n_maps, left.points))
        picture = read_reference(spec, source)
        require_fit(picture, source.info, spec)
        source, mask = open_mask(spec, source, 0 if nothing_left else left.n_maps)
        cleanup.callback(source.close)
        warp = _open_warp(spec, source, picture, mask)
        if warp is not None:
            cleanup.enter_context(warp.limited())
        gain = 1 if warp is None else warp.gain
        description = RunDescription(spec, source, picture)
        description.gain = None if warp is None else gain
        reference, description.rescaled = fit_reference(picture, mask, source.info, spec, gain)
        work.begin(description.identity())
        outputs = cleanup.enter_context(
            contextlib.closing(Outputs(spec, output_formats(spec, source.info, gain), work))
        )
        tally = Tally()
        for row in work.rows():
            tally.add(row)
        damage = left.damage
        if not left.ended:
            job = Job(spec, source, reference, outputs, tally=tally, warp=warp, progress=progress)
            damage = _carry_out(job, outputs, work, nothing_left=nothing_left)
        seconds = time.perf_counter() - started
        paths, sidecar = outputs.commit(description.head(tally, seconds, damage), damage, progress=progress)
    output = paths.pop(MAPS)
    if damage is not None:
        raise DamagedInputError(f"{damage}; {tally.n_frames} maps are kept in {str(output)!r}") from None
    return RunReport(output, sidecar, tally.n_frames, tally.mean_confidence, seconds, paths, tally.n_failed_warps)


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
    content = read_sidecar(path)
    names = {name: Path(text) for name, text in spec.outputs.items()}
    if content.get("complete") is not True or not all(any(existing_files(name)) for name in names.values()):
        return None
    with _described(spec) as (_, description):
        if content.get("job") != description.digest():
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
    )


@contextlib.contextmanager
def _described(spec: RunSpec) -> Iterator[tuple[Source, RunDescription]]:
    """Open everything that a job reads, check that it fits, and describe it."""
    with open_source(spec) as source:
        picture = read_reference(spec, source)
        require_fit(picture, source.info, spec)
        masked, mask = open_mask(spec, source)
        with masked:
            _open_warp(spec, masked, picture, mask)
            yield source, RunDescription(spec, masked, picture)


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
    with _described(spec) as (source, description):
        return {
            "spec": json.loads(spec.model_dump_json()),
            # Wherever a config's `..` and links lead.
            **{name: os.path.realpath(path) for name, path in spec.outputs.items()},
            "sidecar": os.path.realpath(sidecar_path(spec.output)),
            "encoding": describe_encoding(spec),
            "stream": describe_stream(source.info),
            "reference": description.reference,
            "mask": description.mask,
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
