"""The options of how maps and previews become files."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from framencc.spec.model import Model
from framencc.values import Integer, Real

Encoding = Literal["clip", "signed", "float"]
Codec = Literal["ffv1", "h264"]
PreviewStyle = Literal["gray", "heat", "overlay", "panel"]


class OutputFormatSpec(Model):
    """How maps become files."""

    encoding: Encoding | None = Field(
        None,
        description="clip: round(M * max(rho, 0)); signed: round(M * (rho + 1) / 2), M = 255 or 65535; float: rho "
        "itself; unset: float for .npy and .tif, clip for the others",
        examples=["clip"],
    )
    bits: Annotated[Literal[8, 16], BeforeValidator(lambda v: int(v) if isinstance(v, str) and v.isdigit() else v)] = (
        Field(8, description="bits of a clip or signed code")
    )
    codec: Codec | None = Field(
        None,
        description="ffv1: lossless; h264: for viewing; unset: ffv1 for .mkv, h264 for .mp4 and .mov",
        examples=["ffv1"],
    )
    quality: Integer = Field(18, ge=0, le=51, description="H.264 constant rate factor; lower is better and larger")
    preview_style: PreviewStyle = Field(
        "panel",
        description="gray: the confidence in gray; heat: in colours; overlay: the frame, tinted where it is not to be "
        "believed; panel: reference, frame and confidence side by side",
    )
    preview_size: Integer | None = Field(
        None,
        ge=256,
        le=8192,
        description="longest side of a preview in pixels at most; unset: 1920 for a panel, 960 for one picture, which "
        "costs about as much time",
        examples=[1280],
    )
    preview_strength: Real = Field(
        0.7, ge=0, le=1, allow_inf_nan=False, description="how much an overlay hides of what is not to be believed"
    )
    preview_quality: Integer = Field(23, ge=0, le=51, description="the same as quality for a preview")
