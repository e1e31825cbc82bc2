"""The options of the warp."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from framencc.spec.model import Model
from framencc.values import Integer, Real, path_text

Method = Literal["none", "translation", "euclidean", "affine", "homography", "flow", "field"]
Interpolation = Literal["linear", "nearest", "cubic"]
Policy = Literal["invalid", "previous", "identity", "fail"]

_ECC = ("euclidean", "affine", "homography")
_ESTIMATED = ("translation", *_ECC, "flow")
# Which methods an option is for; one that is set for another method is a mistake.
_METHODS_OF = {
    "interpolation": (*_ESTIMATED, "field"),
    "estimation_size": _ESTIMATED,
    "region": _ESTIMATED,
    "normalisation_sigma": (*_ECC, "flow"),
    "upsample_factor": ("translation",),
    "window": ("translation",),
    "max_iterations": _ECC,
    "epsilon": _ECC,
    "preset": ("flow",),
    "warm_start": (*_ECC, "flow"),
    "restart": _ESTIMATED,
    "forward_backward": ("flow",),
    "forward_backward_limit": ("flow",),
    "forward_backward_scale": ("flow",),
    "on_failure": (*_ESTIMATED, "field"),
    "field": ("field",),
    "field_convention": ("field",),
}


class WarpSpec(Model):
    """How each frame is brought onto the reference (docs/warps.md)."""

    method: Method = Field(
        "none",
        description="none: the frames arrive already warped; translation: sub-pixel phase correlation; euclidean, "
        "affine, homography: ECC; flow: DIS optical flow; field: displacement fields from files; all but none, "
        "translation and field need the opencv extra",
    )
    interpolation: Interpolation = Field("linear", description="how a frame is sampled between its pixels")
    estimation_size: Integer | None = Field(
        None,
        ge=64,
        le=65536,
        description="longest side in pixels of the pictures that a warp is estimated on; the warp is applied at full "
        "size; unset: full size",
        examples=[960],
    )
    region: Literal["all", "mask"] = Field(
        "all",
        description="mask: estimation looks only at what the job's single mask lets through (ECC), or at the "
        "rectangle around it (translation, flow)",
    )
    normalisation_sigma: Real = Field(
        40.0,
        ge=0,
        le=1000,
        description="ECC and flow look at pictures whose local mean and contrast have been evened out by a Gaussian of "
        "so many pixels of the estimation size, so that exposure does not matter; 0: off",
    )
    upsample_factor: Integer = Field(
        10, ge=1, le=1000, description="translations are found to 1 / upsample_factor of a pixel"
    )
    window: Literal["none", "hann"] = Field(
        "none", description="hann: fades the pictures out towards their edges before phase correlation"
    )
    max_iterations: Integer = Field(50, ge=1, le=10000, description="ECC stops after so many steps on each level")
    epsilon: Real = Field(
        1e-4, gt=0, le=1, description="ECC stops when a step raises the correlation by less than this"
    )
    preset: Literal["ultrafast", "fast", "medium"] = Field("fast", description="effort of the flow")
    warm_start: bool = Field(True, description="ECC and flow begin with the warp of the frame before")
    restart: Integer = Field(
        16,
        ge=1,
        le=100000,
        description="frames whose number is a multiple of this begin anew, without the frame before, so that any part "
        "of a clip gives the same result as the whole; 1: every frame stands alone",
    )
    forward_backward: Literal["off", "check", "weight"] = Field(
        "off",
        description="use of the distance d between a pixel and where the flow to the frame and back ends; check: "
        "pixels above forward_backward_limit are invalid (code 7); weight: the confidence is max(rho, 0) * exp(-d / "
        "forward_backward_scale)",
    )
    forward_backward_limit: Real = Field(2.0, gt=0, le=1e6, description="largest distance in pixels that passes check")
    forward_backward_scale: Real = Field(2.0, gt=0, le=1e6, description="distance in pixels that weighs 1 / e")
    on_failure: Policy = Field(
        "invalid",
        description="where no warp is found: invalid: nothing of the frame is measured (validity code 9); previous: "
        "the last warp of the chain serves, or the identity where it has none (see restart); identity; fail: the run "
        "ends",
    )
    field: str | None = Field(
        None,
        min_length=1,
        description="displacement fields for method = field, one for each frame of the input: a directory, glob or "
        "pattern of .npy, .flo, KITTI .png or .exr files, or one (N, H, W, 2) .npy",
        examples=["flow/%06d.flo"],
    )
    field_convention: Literal["displacement", "stmap"] = Field(
        "displacement",
        description="what a field file holds: dx and dy in pixels, or positions in the frame as Nuke's STMap has them",
    )

    @field_validator("field", mode="before")
    @classmethod
    def _field_as_text(cls, value: object) -> object:
        return path_text(value)

    @model_validator(mode="after")
    def _options_fit_the_method(self) -> Self:
        for name, methods in _METHODS_OF.items():
            value: Any = getattr(self, name)
            if self.method not in methods and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"warp.{name} = {value} cannot apply to method = {self.method}; it is for {', '.join(methods)}"
                )
        if self.method == "field" and self.field is None:
            raise ValueError("warp.field is missing: method = field needs the fields' path")
        if self.method == "field" and self.on_failure == "previous":
            raise ValueError("warp.on_failure = previous cannot apply to method = field: fields belong to their frames")
        return self

    @property
    def chain_length(self) -> int:
        """How many frames, from a multiple of it on, may depend on each other; 1: none does."""
        starts_warm = self.warm_start and self.method in (*_ECC, "flow")
        falls_back = self.on_failure == "previous" and self.method in _ESTIMATED
        return self.restart if starts_warm or falls_back else 1
