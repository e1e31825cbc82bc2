"""One job from end to end; the only place where source, warp, engine and sink meet."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framencc.errors import DamagedInputError, SourceError
from framencc.frames import Use
from framencc.pipeline.description import RunDescription, describe_encoding, describe_stream, output_formats
from framencc.pipeline.fit import fit_reference, require_fit
from framencc.pipeline.job import Job
from framencc.pipeline.outputs import MAPS, Outputs
from framencc.sinks import check_targets
from framencc.sources import ReferencePicture, Source, open_mask, open_source, read_reference
from framencc.spec import RunSpec, parse_frames
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
    check_targets(spec)
    with contextlib.ExitStack() as cleanup:
        source = cleanup.enter_context(open_source(spec))
        source.read_ahead()  # a frame of a video takes as long to fetch for the reference as the first one of the input
        picture = read_reference(spec, source)
        require_fit(picture, source.info, spec)
        source, mask = open_mask(spec, source)
        cleanup.callback(source.close)
        warp = _open_warp(spec, source, picture, mask)
        if warp is not None:
            cleanup.enter_context(warp.limited())
        gain = 1 if warp is None else warp.gain
        description = RunDescription(spec, source, picture)
        description.gain = None if warp is None else gain
        reference, description.rescaled = fit_reference(picture, mask, source.info, spec, gain)
        outputs = cleanup.enter_context(Outputs(spec, output_formats(spec, source.info, gain)))
        job = Job(spec, source, reference, outputs, warp=warp, progress=progress)
        damage: DamagedInputError | None = None
        try:
            job.carry_out()
        except DamagedInputError as error:
            if job.tally.n_frames == 0:
                # Exit code 3 promises a partial result, and there is none.
                raise SourceError(str(error)) from None
            damage = error
        seconds = time.perf_counter() - started
        paths, sidecar = outputs.commit(description.head(job.tally, seconds, damage), damaged=damage is not None)
    output = paths.pop(MAPS)
    if damage is not None:
        raise DamagedInputError(f"{damage}; {job.tally.n_frames} maps are kept in {str(output)!r}") from None
    tally = job.tally
    return RunReport(output, sidecar, tally.n_frames, tally.mean_confidence, seconds, paths, tally.n_failed_warps)


def describe(spec: RunSpec) -> dict[str, Any]:
    """Say what `run` would do, after all the checks that need no decoding of the whole input.

    Raises
    ------
    FramenccError
        As `run` does, where the reason can be seen beforehand.
    """
    check_targets(spec)
    with open_source(spec) as source:
        picture = read_reference(spec, source)
        require_fit(picture, source.info, spec)
        masked, mask = open_mask(spec, source)
        with masked:
            _open_warp(spec, masked, picture, mask)
            description = RunDescription(spec, masked, picture)
        return {
            "spec": json.loads(spec.model_dump_json()),
            **{name: str(Path(path).absolute()) for name, path in spec.outputs.items()},
            "encoding": describe_encoding(spec),
            "stream": describe_stream(source.info),
            "reference": description.reference,
            "mask": description.mask,
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
