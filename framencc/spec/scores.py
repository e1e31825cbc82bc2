"""The options of the scores."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from framencc.spec.model import Model
from framencc.values import Real, path_text, split_list

SCORES_SUFFIXES = (".csv", ".jsonl")
CLIP_MAP_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
MINIMUM, MEAN = "temporal_minimum", "temporal_mean"
"""What the maps of the whole clip are called, in a config file and in the sidecar."""
MAX_REGIONS = 255
_MAX_LABEL = 65535
_NAME = re.compile(r"([0-9]{1,5})=(\w[\w-]{0,63})")


class ScoresSpec(Model):
    """Which numbers are kept of each frame, and where (docs/scores.md)."""

    path: str | None = Field(
        None,
        min_length=1,
        description="a further output: the scores of every frame, .csv (one line a frame, empty where there is no "
        "value) or .jsonl (one JSON object a frame); the sidecar has them in any case",
        examples=["out/take01_scores.csv"],
    )
    threshold: Real = Field(0.5, ge=-1, le=1, description="share_below is the share of pixels whose rho is below this")
    regions: str | None = Field(
        None,
        min_length=1,
        description="a picture of the reference's size whose pixels are labels, each a region that is scored by itself",
        examples=["regions.png"],
    )
    region_names: tuple[str, ...] | None = Field(
        None,
        description='names of the labels, such as ["1=left_eye", "2=mouth"], on the command line 1=left_eye,2=mouth; '
        "only these are scored; unset: every label above 0, as label_1, label_2 ...",
        examples=[["1=left_eye", "2=mouth"]],
    )
    temporal_minimum: str | None = Field(
        None,
        min_length=1,
        description="a further output: the lowest rho that each pixel has in the whole clip, over the frames that "
        "measured it; .npy or .tif (float32, nan where none did), or .png (codes, as of an output that is a video)",
        examples=["out/take01_lowest.npy"],
    )
    temporal_mean: str | None = Field(
        None,
        min_length=1,
        description="the same for the mean",
        examples=["out/take01_mean.png"],
    )

    @field_validator("path", "regions", "temporal_minimum", "temporal_mean", mode="before")
    @classmethod
    def _path_as_text(cls, value: object) -> object:
        return path_text(value)

    @field_validator("path")
    @classmethod
    def _scores_have_a_format(cls, path: str | None) -> str | None:
        if path is not None and Path(path).suffix.lower() not in SCORES_SUFFIXES:
            raise ValueError(f"{path!r} must end in one of {', '.join(SCORES_SUFFIXES)}")
        return path

    @field_validator("temporal_minimum", "temporal_mean")
    @classmethod
    def _one_picture(cls, path: str | None) -> str | None:
        if path is not None and Path(path).suffix.lower() not in CLIP_MAP_SUFFIXES:
            raise ValueError(f"{path!r} must end in one of {', '.join(CLIP_MAP_SUFFIXES)}")
        return path

    @field_validator("region_names", mode="before")
    @classmethod
    def _names_are_a_list(cls, given: object) -> object:
        if given is None:
            return None
        several = split_list(given)
        items = [given] if several is None else several
        names = tuple(item.strip("[]() '\"") if isinstance(item, str) else item for item in items)
        if not names:
            raise ValueError("needs at least one name")
        labelled = parse_region_names(names)
        if len(names) > MAX_REGIONS:
            raise ValueError(f"has {len(names)} regions; {MAX_REGIONS} can be scored")
        if len(set(labelled.values())) != len(names):
            raise ValueError(f"has a label or a name twice: {', '.join(map(str, names))}")
        return names

    @model_validator(mode="after")
    def _names_need_regions(self) -> Self:
        if self.region_names is not None and self.regions is None:
            raise ValueError("region_names needs regions: there is no picture whose labels could be named")
        return self


def parse_region_names(items: tuple[object, ...]) -> dict[str, int]:
    """Read names of labels, ``1=left_eye``; return the label of each name.

    Raises
    ------
    ValueError
        When one is written otherwise.
    """
    labels = {}
    for item in items:
        match = _NAME.fullmatch(item) if isinstance(item, str) else None
        if match is None or int(match[1]) > _MAX_LABEL:
            raise ValueError(
                f"must be label=name, such as 1=left_eye, the label from 0 to {_MAX_LABEL}, the name of letters, "
                f"digits, _ and -; not {item!r}"
            )
        labels[match[2]] = int(match[1])
    return labels
