"""What all option models share."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen options, of which none is unknown."""

    # NaN is a legal value of two options; as a JSON string it survives the sidecar.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
