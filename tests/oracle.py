"""What framencc must compute, written as plainly as possible. It imports nothing of framencc.

Every step is float64, two-pass and centred: one loop over pixels, one over the pixels of the window. The rules, where
docs/definition.md speaks in fewer words:

 1. Samples. uint8, uint16 and float32 samples are taken as they are, also when the two pictures differ in dtype;
    float64 is first rounded to float32. All arithmetic after that is float64, and the result is rounded to float32
    last.
 2. Channels. A 2-D or (H, W, 1) picture is gray, (H, W, 2) gray and alpha, (H, W, 3) RGB, (H, W, 4) RGB and alpha;
    alpha is dropped. luma of RGB is (K_R R + K_G G) + K_B B in float64 with the weights of rgb_matrix (auto: bt601),
    rounded half to even for integers and to float32 for floats; luma of gray is gray. red, green and blue need RGB.
    joint takes all channels, so for gray it is luma; both pictures must have the same number of them.
 3. Usable. A pixel is masked when the job's mask or the frame's mask is not > 0 there (a nan in a mask is not > 0);
    with mask_labels, when either mask holds none of them there; with alpha = reference, frame or both also when the
    last channel of that picture (of 2 or 4) is not > 0. It is not finite when any of the chosen channels is nan or
    infinite in either picture. All other pixels are usable.
 4. Window. Its positions are the (2 r + 1)^2 offsets around the pixel; shrink drops those outside the picture;
    reflect mirrors them as numpy.pad "symmetric" does, as often as needed, and a pixel that is met twice counts
    twice; valid measures only pixels whose window lies inside the picture. N is the number of positions, n that of
    usable ones.
 5. Sums. S_RR, S_FF and S_RF run over the usable positions, each channel centred by its own mean there, and are
    pooled over the C channels. The noise term n s^2 is pooled too: it is C n s^2.
 6. Code of one radius, first match wins: 4 the pixel is masked; 6 it is not finite; 3 border = valid and the window
    leaves the picture; 5 n / N < min_valid_fraction, the quotient in float64; with noise_sigma = 0 only: 1 the
    reference's window is flat; 2 the frame's is; 0 measured.
 7. Flat. A channel of integers is flat in a window when it is constant there. A channel of floats is flat when its own
    S_XX <= n (2^-22 m)^2, m its largest |x| there: when its rms deviation is at most 2^-22 of its largest magnitude.
    What is left is rounding noise and counts as none: a flat channel adds 0 to its S_XX and to S_RF, also with
    noise_sigma > 0. A window is flat when all its channels are. Each picture is judged by its own dtype.
 8. Value of one radius: rho, clamped to [-1, 1], for code 0; `flat` for codes 1 and 2; `fill` for the others. With
    noise_sigma > 0 there are no codes 1 and 2, and the formula serves for flat windows too.
 9. Several radii. mean, min or max is taken over the radii whose code is 0 at the pixel, and the code is 0. Where
    there is none, code and value are those of the first radius of the list.
10. smooth_sigma works last, on the combined map: at every pixel of code 0, 1 or 2 the mean of the values of all
    pixels of code 0, 1 or 2 within ceil(3 sigma) px in x and in y, weighted by exp(-(dx^2 + dy^2) / (2 sigma^2)),
    over those inside the picture only, whatever the border. Codes do not change. With flat = nan, pixels of code 1
    and 2 take no part: they neither lend their value nor receive one. Other pixels keep `fill`.
11. Encoding. Codes are computed in float64, and halves round up. rho outside [-1, 1] (a fill value) is clamped first;
    nan becomes code 0: black, no confidence.
"""

import math
from collections.abc import Sequence

import numpy as np

VALID, FLAT_REFERENCE, FLAT_FRAME, OUTSIDE, MASKED, TOO_FEW, NOT_FINITE = range(7)
HOLDS_A_VALUE = (VALID, FLAT_REFERENCE, FLAT_FRAME)
FLOAT_FLATNESS = 2.0**-22
LUMA_WEIGHTS = {
    "auto": (0.299, 0.587, 0.114),
    "bt601": (0.299, 0.587, 0.114),
    "bt709": (0.2126, 0.7152, 0.0722),
    "bt2020": (0.2627, 0.6780, 0.0593),
}

Plane = list[list[float]]
Point = tuple[int, int]


def oracle(
    reference: np.ndarray,
    frame: np.ndarray,
    radius: int | Sequence[int] = 3,
    *,
    smooth_sigma: float = 0.0,
    flat: float = 0.0,
    fill: float = 0.0,
    **options: object,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the map (float64) and the validity codes (uint8) of a whole picture; options as for `oracle_at`."""
    height, width = reference.shape[:2]
    points = [(y, x) for y in range(height) for x in range(width)]
    values, codes = oracle_at(reference, frame, points, radius, flat=flat, fill=fill, **options)
    values, codes = values.reshape(height, width), codes.reshape(height, width)
    if smooth_sigma > 0:
        values = _smoothed(values, codes, smooth_sigma, flat)
    return values, codes


def oracle_at(
    reference: np.ndarray,
    frame: np.ndarray,
    points: Sequence[Point],
    radius: int | Sequence[int] = 3,
    *,
    border: str = "shrink",
    flat: float = 0.0,
    noise_sigma: float = 0.0,
    mask: np.ndarray | None = None,
    frame_mask: np.ndarray | None = None,
    mask_labels: Sequence[int] | None = None,
    alpha: str = "ignore",
    min_valid_fraction: float = 0.5,
    channel: str = "luma",
    rgb_matrix: str = "auto",
    combine: str = "mean",
    fill: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (float64) and codes (uint8) of the given (y, x) only. Smoothing needs all: see `oracle`."""
    radii = [radius] if isinstance(radius, int) else list(radius)
    rules = {
        "border": border,
        "flat": flat,
        "noise_sigma": noise_sigma,
        "min_valid_fraction": min_valid_fraction,
        "fill": float(np.float32(fill)),
    }
    reference_side = _Side(reference, channel, rgb_matrix)
    frame_side = _Side(frame, channel, rgb_matrix)
    sides = (("reference", reference), ("frame", frame))
    transparent = [picture[:, :, -1] for name, picture in sides if alpha in (name, "both")]
    states = _states(reference_side, frame_side, [mask, frame_mask], mask_labels, transparent)
    values, codes = [], []
    for y, x in points:
        measured = [_one_radius(reference_side, frame_side, states, (y, x), r, **rules) for r in radii]
        value, code = _combined(measured, combine)
        values.append(value)
        codes.append(code)
    return np.array(values, np.float64), np.array(codes, np.uint8)


class _Side:
    """One picture as float64 planes (rules 1 and 2)."""

    def __init__(self, picture: np.ndarray, channel: str, rgb_matrix: str) -> None:
        self.weights = LUMA_WEIGHTS[rgb_matrix]
        if picture.dtype == np.float64:
            picture = picture.astype(np.float32)
        self.is_integer = picture.dtype.kind == "u"
        colours = picture if picture.ndim == 3 else picture[:, :, np.newaxis]
        if colours.shape[2] in (2, 4):
            colours = colours[:, :, :-1]
        planes = [colours[:, :, c].astype(np.float64).tolist() for c in range(colours.shape[2])]
        if channel == "luma" and len(planes) == 3:
            planes = [self._luma(*planes)]
        elif channel in ("red", "green", "blue"):
            planes = [planes[("red", "green", "blue").index(channel)]]
        self.planes: list[Plane] = planes
        self.height, self.width = picture.shape[:2]

    def _luma(self, red: Plane, green: Plane, blue: Plane) -> Plane:
        plane = []
        for row_r, row_g, row_b in zip(red, green, blue, strict=True):
            k_r, k_g, k_b = self.weights
            row = [(k_r * r + k_g * g) + k_b * b for r, g, b in zip(row_r, row_g, row_b, strict=True)]
            plane.append([float(round(y)) if self.is_integer else float(np.float32(y)) for y in row])
        return plane


def _states(
    reference: _Side,
    frame: _Side,
    masks: list[np.ndarray | None],
    labels: Sequence[int] | None,
    transparent: list[np.ndarray],
) -> list[list[int]]:
    """Say of every pixel whether it is usable (0), MASKED or NOT_FINITE (rule 3; masked goes first, rule 6)."""

    def is_masked(y: int, x: int) -> bool:
        for mask in masks:
            if mask is None:
                continue
            if labels is None and not mask[y, x] > 0:
                return True
            if labels is not None and int(mask[y, x]) not in labels:
                return True
        return any(not opacity[y, x] > 0 for opacity in transparent)

    states = []
    for y in range(reference.height):
        row = []
        for x in range(reference.width):
            samples = [plane[y][x] for plane in reference.planes + frame.planes]
            if is_masked(y, x):
                row.append(MASKED)
            elif not all(math.isfinite(sample) for sample in samples):
                row.append(NOT_FINITE)
            else:
                row.append(VALID)
        states.append(row)
    return states


def _one_radius(
    reference: _Side,
    frame: _Side,
    states: list[list[int]],
    point: Point,
    radius: int,
    *,
    border: str,
    flat: float,
    noise_sigma: float,
    min_valid_fraction: float,
    fill: float,
) -> tuple[float, int]:
    """Value and code of one pixel for one radius (rules 4 to 8)."""
    y, x = point
    if states[y][x] != VALID:
        return fill, states[y][x]
    positions = _positions(point, radius, reference.height, reference.width, border)
    if positions is None:
        return fill, OUTSIDE
    usable = [(i, j) for i, j in positions if states[i][j] == VALID]
    if len(usable) / len(positions) < min_valid_fraction:
        return fill, TOO_FEW
    s_rr, s_ff, s_rf = _sums(reference, frame, usable)
    if noise_sigma == 0:
        if s_rr == 0:
            return flat, FLAT_REFERENCE
        if s_ff == 0:
            return flat, FLAT_FRAME
        rho = s_rf / (math.sqrt(s_rr) * math.sqrt(s_ff))
    else:
        noise = len(reference.planes) * len(usable) * noise_sigma**2
        rho = (s_rf + flat * noise) / (math.sqrt(s_rr + noise) * math.sqrt(s_ff + noise))
    return max(-1.0, min(1.0, rho)), VALID


def _positions(point: Point, radius: int, height: int, width: int, border: str) -> list[Point] | None:
    """List the positions of a window (rule 4); None where border = valid and it leaves the picture."""
    rows = range(point[0] - radius, point[0] + radius + 1)
    columns = range(point[1] - radius, point[1] + radius + 1)
    if border == "reflect":
        return [(_mirrored(i, height), _mirrored(j, width)) for i in rows for j in columns]
    inside = [(i, j) for i in rows if 0 <= i < height for j in columns if 0 <= j < width]
    if border == "valid" and len(inside) < len(rows) * len(columns):
        return None
    return inside


def _mirrored(index: int, size: int) -> int:
    """Mirror an index at the picture's edges, the edge pixel itself included: 1 0 | 0 1 2 | 2 1 0 | 0 1."""
    while not 0 <= index < size:
        index = -1 - index if index < 0 else 2 * size - 1 - index
    return index


def _sums(reference: _Side, frame: _Side, usable: list[Point]) -> tuple[float, float, float]:
    """S_RR, S_FF and S_RF (rule 5); S_RR or S_FF is exactly 0 where the window is flat (rule 7)."""
    s_rr = s_ff = s_rf = 0.0
    for plane_r, plane_f in zip(reference.planes, frame.planes, strict=True):
        centred_r = _centred([plane_r[i][j] for i, j in usable], reference.is_integer)
        centred_f = _centred([plane_f[i][j] for i, j in usable], frame.is_integer)
        for r, f in zip(centred_r, centred_f, strict=True):
            s_rr += r * r
            s_ff += f * f
            s_rf += r * f
    return s_rr, s_ff, s_rf


def _centred(samples: list[float], is_integer: bool) -> list[float]:
    """One channel of a window less its mean; nothing but zeros where it is flat (rule 7)."""
    n = len(samples)
    mean = sum(samples) / n
    centred = [sample - mean for sample in samples]
    if is_integer:
        is_flat = min(samples) == max(samples)
    else:
        largest = max(abs(sample) for sample in samples)
        is_flat = sum(c * c for c in centred) <= n * (FLOAT_FLATNESS * largest) ** 2
    return [0.0] * n if is_flat else centred


def _combined(measured: list[tuple[float, int]], combine: str) -> tuple[float, int]:
    """Rule 9."""
    values = [value for value, code in measured if code == VALID]
    if not values:
        return measured[0]
    if combine == "mean":
        return sum(values) / len(values), VALID
    return (min(values) if combine == "min" else max(values)), VALID


def _smoothed(values: np.ndarray, codes: np.ndarray, sigma: float, flat: float) -> np.ndarray:
    """Rule 10."""
    height, width = values.shape
    part = (VALID,) if math.isnan(flat) else HOLDS_A_VALUE
    reach = math.ceil(3 * sigma)
    result = values.copy()
    for y in range(height):
        for x in range(width):
            if codes[y, x] not in part:
                continue
            total = weights = 0.0
            for i in range(max(0, y - reach), min(height, y + reach + 1)):
                for j in range(max(0, x - reach), min(width, x + reach + 1)):
                    if codes[i, j] in part:
                        weight = math.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * sigma**2))
                        weights += weight
                        total += weight * values[i, j]
            result[y, x] = total / weights
    return result


def encode(rho: np.ndarray, encoding: str, bits: int) -> np.ndarray:
    """Turn a map into clip or signed codes of 8 or 16 bits (rule 11)."""
    largest = {8: 255, 16: 65535}[bits]
    codes = np.zeros(rho.shape, {8: np.uint8, 16: np.uint16}[bits])
    for index, value in np.ndenumerate(rho):
        if math.isnan(value):
            continue
        clamped = max(-1.0, min(1.0, float(value)))
        share = max(clamped, 0.0) if encoding == "clip" else (clamped + 1) / 2
        codes[index] = math.floor(largest * share + 0.5)
    return codes


def seed(reference: np.ndarray, frame: np.ndarray, d: int) -> np.ndarray:
    """Run the naive script that the project started from, on its own terms.

    For every interior pixel the Pearson correlation of the two patches of side 2 d + 1 around it, 0 where a patch has
    no variance. The pixels within d of the edge, which it does not visit, stay 0.
    """
    height, width = reference.shape
    result = np.zeros((height, width))
    for y in range(d, height - d):
        for x in range(d, width - d):
            patch_r = reference[y - d : y + d + 1, x - d : x + d + 1].astype(np.float64)
            patch_f = frame[y - d : y + d + 1, x - d : x + d + 1].astype(np.float64)
            patch_r = patch_r - patch_r.mean()
            patch_f = patch_f - patch_f.mean()
            variance_r, variance_f = (patch_r**2).sum(), (patch_f**2).sum()
            if variance_r > 0 and variance_f > 0:
                result[y, x] = (patch_r * patch_f).sum() / math.sqrt(variance_r * variance_f)
    return result
