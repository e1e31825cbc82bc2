"""The named regions of a job: a picture whose pixels are labels."""

import numpy as np

from framencc.errors import DamagedInputError, FramenccError, SourceError, SpecError
from framencc.frames import Regions, StreamInfo
from framencc.sources.pictures import take_from_file
from framencc.sources.wanted import WantedLabels
from framencc.spec import RunSpec
from framencc.spec.scores import MAX_REGIONS, parse_region_names


def read_regions(spec: RunSpec, info: StreamInfo) -> Regions | None:
    """Read the regions that a job scores by themselves.

    Parameters
    ----------
    spec
        The job.
    info
        The job's input, whose size the picture must have.

    Returns
    -------
    Regions or None
        None where none are asked for. A name whose label no pixel has stays.

    Raises
    ------
    SpecError
        When the picture does not exist, is no picture of labels, or has another size.
    SourceError
        When it cannot be read.
    """
    path = spec.scores.regions
    if path is None:
        return None
    try:
        labels = take_from_file(path, WantedLabels(), what="picture", max_pixels=spec.limits.max_pixels).data
        if labels.shape != (info.height, info.width):
            raise SpecError(
                f"{path!r} is {labels.shape[1]} x {labels.shape[0]} pixels, the reference {info.width} x "
                f"{info.height}; they must be equal{info.size_note}"
            )
        return Regions(labels, _names(spec, labels))
    except DamagedInputError as error:
        # Exit code 3 promises a partial result; without the regions there is none.
        raise SourceError(f"scores.regions: {error}") from None
    except FramenccError as error:
        raise type(error)(f"scores.regions: {error}") from None


def _names(spec: RunSpec, labels: np.ndarray) -> dict[str, int]:
    if spec.scores.region_names is not None:
        return parse_region_names(spec.scores.region_names)
    found = [int(label) for label in np.unique(labels) if label > 0]
    if not found:
        raise SpecError(f"{spec.scores.regions!r} has no label above 0")
    if len(found) > MAX_REGIONS:
        raise SpecError(
            f"{spec.scores.regions!r} has {len(found)} labels, and {MAX_REGIONS} regions can be scored; choose some "
            f"with scores.region_names"
        )
    return {f"label_{label}": label for label in found}
