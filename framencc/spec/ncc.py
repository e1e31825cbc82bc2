"""The options of the correlation."""

import math
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from framencc.spec.model import Model
from framencc.values import Integer, Real, path_text, split_list, whole_number

Border = Literal["shrink", "valid", "reflect"]
Channel = Literal["luma", "red", "green", "blue", "joint"]
Combine = Literal["mean", "min", "max"]
Alpha = Literal["ignore", "reference", "frame", "both"]
RgbMatrix = Literal["auto", "bt601", "bt709", "bt2020"]
RgbRange = Literal["auto", "limited", "full"]
MAX_LABEL = 65535
MAX_RADIUS = 127
MAX_FLOAT = float((2 - Fraction(1, 2**23)) * 2**127)  # the largest float32, in which maps are
# Squares of smaller and of larger ones leave the range in which float32 is precise.
MIN_SIGMA, MAX_NOISE_SIGMA = 1e-6, 1e6

Radius = Annotated[Integer, Field(ge=1, le=MAX_RADIUS)]


class NccSpec(Model):
    """How the correlation is computed (docs/definition.md)."""

    radius: Radius | tuple[Radius, ...] = Field(
        3,
        description=f"window radius in pixels, 1 to {MAX_RADIUS}; the window's side is 2 * radius + 1; of a list, such "
        "as [2, 3, 5], the maps are combined",
    )
    border: Border = Field(
        "shrink",
        description="shrink: the window is cut at the picture's edge; valid: pixels whose window leaves the picture "
        "are invalid; reflect: the picture is mirrored at its edges",
    )
    flat: Real = Field(
        0.0,
        description="value of a window without texture, -1 to 1 or nan, and the prior that noise_sigma moves towards",
    )
    noise_sigma: Real = Field(
        0.0,
        ge=0,
        le=MAX_NOISE_SIGMA,
        allow_inf_nan=False,
        description="standard deviation of the sensor noise in code values of the input; windows that hold little "
        f"more than noise move smoothly towards flat; 0: off, otherwise at least {MIN_SIGMA:g}",
    )
    mask: str | None = Field(
        None,
        min_length=1,
        description="a picture of the reference's size whose pixels above black are used, all others take no part in "
        "any window; or a sequence, video or (N, H, W) .npy that has such a picture for each frame of the input",
        examples=["face.png"],
    )
    mask_labels: tuple[Integer, ...] | None = Field(
        None,
        description="the mask's pixels of these labels are used, such as [1, 4]; unset: all above black",
        examples=[[1, 4]],
    )
    alpha: Alpha = Field(
        "ignore", description="whose alpha channel serves as a mask as well: pixels that are not wholly transparent"
    )
    min_valid_fraction: Real = Field(
        0.5, gt=0, le=1, description="share of a window's pixels in the picture that must be usable"
    )
    channel: Channel = Field(
        "luma", description="joint: red, green and blue together, each centred by its own mean, sums pooled"
    )
    rgb_matrix: RgbMatrix = Field(
        "auto",
        description="how luma and red, green and blue are related where one has to be computed from the other; auto: "
        "as the video says (unsaid: bt709 if its longer side has 1280 pixels or its shorter one more than 576, else "
        "bt601); without a YUV video bt601, as in JPEG files",
    )
    rgb_range: RgbRange = Field(
        "auto",
        description="range of a video's YUV codes, 16 to 235 or 0 to 255 in 8 bits; auto: as the video says (unsaid: "
        "limited)",
    )
    combine: Combine = Field("mean", description="how the maps of several radii become one, over those that measured")
    smooth_sigma: Real = Field(
        0.0,
        ge=0,
        le=MAX_RADIUS,
        description=f"Gaussian smoothing of the finished map, in pixels; 0: off, otherwise at least {MIN_SIGMA:g}",
    )
    fill: Real = Field(
        0.0,
        description="value of pixels without a measurement (masked, outside, not finite), within the range of "
        "float32, or nan",
    )

    @field_validator("radius", mode="before")
    @classmethod
    def _radius_is_one_or_several(cls, radius: object) -> object:
        several = split_list(radius)
        if several is not None and not several:
            raise ValueError("needs at least one radius")
        numbers = [_radius(value) for value in ([radius] if several is None else several)]
        return numbers[0] if several is None else tuple(numbers)

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_as_text(cls, value: object) -> object:
        return path_text(value)

    @field_validator("mask_labels", mode="before")
    @classmethod
    def _labels_are_a_list(cls, labels: object) -> object:
        if labels is None:
            return None
        several = split_list(labels)
        numbers = tuple(whole_number(label, 0, MAX_LABEL, "a label from") for label in several or [labels])
        if not numbers:
            raise ValueError("needs at least one label")
        return numbers

    @field_validator("flat")
    @classmethod
    def _flat_in_range(cls, flat: float) -> float:
        if not (math.isnan(flat) or -1 <= flat <= 1):
            raise ValueError("must be between -1 and 1, or nan")
        return flat

    @field_validator("fill")
    @classmethod
    def _fill_fits_a_map(cls, fill: float) -> float:
        if abs(fill) > MAX_FLOAT:
            raise ValueError("must be a finite number within the range of float32, or nan")
        return fill

    @field_validator("noise_sigma", "smooth_sigma")
    @classmethod
    def _sigma_can_be_squared(cls, sigma: float) -> float:
        if 0 < sigma < MIN_SIGMA:
            raise ValueError(f"must be 0 or at least {MIN_SIGMA:g}")
        return sigma

    @model_validator(mode="after")
    def _combine_needs_several_radii(self) -> Self:
        if self.combine != "mean" and isinstance(self.radius, int):
            raise ValueError(
                f"combine = {self.combine} cannot apply to radius = {self.radius}; it is for a list of radii"
            )
        return self

    @model_validator(mode="after")
    def _nan_prior_needs_no_noise(self) -> Self:
        if math.isnan(self.flat) and self.noise_sigma > 0:
            raise ValueError("flat = nan needs noise_sigma = 0, because flat is the prior of the noise model")
        return self


def _radius(value: object) -> int:
    return whole_number(value, 1, MAX_RADIUS, "a whole number of pixels from")
