"""Fits of extreme value distributions by SciPy, for test/numerics/extreme-values.test.ts.

    python test/golden/make_extreme_values_golden.py > test/golden/extreme-values.json

SciPy's shape c is minus ours. Maxima count as of equal sizes, and none is censored.
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import genextreme, gumbel_r


def best_genextreme(values):
    """SciPy's fit depends on where it starts: the best of several counts."""
    location, scale = gumbel_r.fit(values)
    fits = [genextreme.fit(values, c, loc=location, scale=scale) for c in (-0.2, -0.05, 0.1, 0.3)]
    return min(fits, key=lambda fit: genextreme.nnlf(fit, values))


def case(name, values):
    values = np.asarray(values, dtype=np.float64)
    location, scale = gumbel_r.fit(values)
    c, general_location, general_scale = best_genextreme(values)
    general = dict(location=general_location, scale=general_scale, shape=-c)
    return dict(
        name=name,
        values=values.tolist(),
        gumbel=dict(location=location, scale=scale, log_likelihood=gumbel_r.logpdf(values, location, scale).sum()),
        general=general | dict(log_likelihood=genextreme.logpdf(values, c, general_location, general_scale).sum()),
        # the level that the largest of 100 blocks exceeds with 5 %
        gumbel_level=gumbel_r.ppf(0.95 ** (1 / 100), location, scale),
        general_level=genextreme.ppf(0.95 ** (1 / 100), c, general_location, general_scale),
    )


MAXIMA = Path(__file__).parents[2] / "bench" / "data" / "serving-maxima.json"

random = np.random.default_rng(17)
cases = [
    case(f"synthetic, {n} values of shape {shape}", genextreme.rvs(-shape, 10, 2, size=n, random_state=random))
    for shape in (-0.2, 0.0, 0.15)
    for n in (16, 64, 256)
]
for model, measured in sorted(json.loads(MAXIMA.read_text(encoding="utf-8")).items(), reverse=True):
    sides = measured["shipped"]["sides"]
    for side in range(0, len(sides), max(1, len(sides) // 7)):
        values = [value for value in sides[side] if value > min(sides[side])][:100]
        if len(set(values)) > 50:
            cases.append(case(f"{model}, side {side}", values))
print(json.dumps(dict(scipy=scipy.__version__, numpy=np.__version__, cases=cases), indent=1))
