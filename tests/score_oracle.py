"""The scores of docs/scores.md by plain NumPy in float64. Imports nothing of the package under test."""

import numpy as np

SCORES = ("mean", "median", "p05", "p95", "share_below", "sharpness_ratio", "gain", "warp_magnitude")


def scores(rho, validity, threshold, *, where=None, planes=None, reference=None, scale=1.0, field=None):
    """Return the scores of a frame over the pixels of `where`; those without a value are None."""
    where = np.ones(rho.shape, bool) if where is None else where
    measured = (validity == 0) & where
    found = dict.fromkeys(SCORES)
    found["valid_share"] = measured.sum() / where.sum() if where.any() else None
    if not measured.any():
        return found
    values = rho[measured]
    found["mean"] = values.mean(dtype=np.float64)
    found["p05"], found["median"], found["p95"] = np.percentile(values.astype(np.float64), [5, 50, 95])
    found["share_below"] = (values < np.float32(threshold)).mean()
    if field is not None:
        lengths = np.hypot(*field[measured].astype(np.float64).T)
        lengths = lengths[~np.isnan(lengths)]
        found["warp_magnitude"] = lengths.mean() if lengths.size else None
    if planes is not None:
        contrast, step = texture(planes, validity == 0, where)
        own_contrast, own_step = texture(reference, validity == 0, where)
        if own_contrast > 0:
            found["gain"] = None if scale is None else contrast / own_contrast * scale
            if contrast > 0 and own_step > 0:
                found["sharpness_ratio"] = (step / contrast) / (own_step / own_contrast)
    return found


def texture(planes, measured, where):
    """Return the contrast of a picture, and the mean absolute difference between neighbours that were both measured."""
    variance = step = 0.0
    for plane in planes.astype(np.float64):
        variance += plane[measured & where].var()
        right = np.abs(np.diff(plane, axis=1))[(measured & where)[:, :-1] & measured[:, 1:]]
        below = np.abs(np.diff(plane, axis=0))[(measured & where)[:-1] & measured[1:]]
        pairs = np.concatenate([right, below])
        step += pairs.mean() if pairs.size else 0.0
    return np.sqrt(variance), step
