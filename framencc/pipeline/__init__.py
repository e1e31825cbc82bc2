"""One job from end to end; the only place where source, warp, engine and sink meet."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framencc.errors import DamagedInputError, SourceError
from framencc.pipeline.description import RunDescription, describe_encoding, describe_stream, map_format
from framencc.pipeline.fit import fit_reference, require_fit
from framencc.pipeline.job import Job
from framencc.pipeline.outputs import Outputs
from framencc.sinks import check_targets
from framencc.sources import open_mask, open_source, read_reference
from framencc.spec import RunSpec

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
    validity
        Where the validity codes are, if they were asked for.
    """

    output: Path
    sidecar: Path
    n_frames: int
    mean_confidence: float | None
    seconds: float
    validity: Path | None = None


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
        picture = read_reference(spec, source.info.matrix)
        require_fit(picture, source.info, spec)
        source, mask = open_mask(spec, source)
        cleanup.callback(source.close)
        description = RunDescription(spec, source, picture)
        reference, description.rescaled = fit_reference(picture, mask, source.info, spec)
        outputs = cleanup.enter_context(Outputs(spec, map_format(spec, source.info)))
        job = Job(spec, source, reference, outputs, progress=progress)
        damage: DamagedInputError | None = None
        try:
            job.carry_out()
        except DamagedInputError as error:
            if job.tally.n_frames == 0:
                # Exit code 3 promises a partial result, and there is none.
                raise SourceError(str(error)) from None
            damage = error
        seconds = time.perf_counter() - started
        output, validity, sidecar = outputs.commit(
            description.head(job.tally, seconds, damage), damaged=damage is not None
        )
    if damage is not None:
        raise DamagedInputError(f"{damage}; {job.tally.n_frames} maps are kept in {str(output)!r}") from None
    return RunReport(output, sidecar, job.tally.n_frames, job.tally.mean_confidence, seconds, validity)


def describe(spec: RunSpec) -> dict[str, Any]:
    """Say what `run` would do, after all the checks that need no decoding of the whole input.

    Raises
    ------
    FramenccError
        As `run` does, where the reason can be seen beforehand.
    """
    check_targets(spec)
    with open_source(spec) as source:
        picture = read_reference(spec, source.info.matrix)
        require_fit(picture, source.info, spec)
        masked, _ = open_mask(spec, source)
        with masked:
            description = RunDescription(spec, masked, picture)
        return {
            "spec": json.loads(spec.model_dump_json()),
            "output": str(Path(spec.output).absolute()),
            "validity": None if spec.validity is None else str(Path(spec.validity).absolute()),
            "encoding": describe_encoding(spec),
            "stream": describe_stream(source.info),
            "reference": description.reference,
            "mask": description.mask,
        }
