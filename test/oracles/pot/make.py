"""Writes plans.json: optimal transport with a quadratic regulariser, solved by POT's ot.smooth (Blondel et al. 2018).

    pip install POT==0.9.7.post1 && python make.py > plans.json

ot.smooth minimises <P, C> + reg/2 |P|^2 over the transport polytope by L-BFGS on the dual, and on the semi-dual, which
meets the column marginal exactly. Both plans are written, so a test knows how far two good solvers stay apart.
"""

import json
import sys

import numpy as np
import ot
import ot.smooth

rng = np.random.default_rng(20240607)


def problem(u, v, alpha, uniform):
    cost = rng.random((u, v)).round(4)
    mu, nu = (np.ones(n) / n if uniform else rng.dirichlet(3 * np.ones(n)) for n in (u, v))
    solver = dict(reg=alpha, reg_type="l2", method="L-BFGS-B", stopThr=1e-15, numItermax=100_000)
    dual = ot.smooth.smooth_ot_dual(mu, nu, cost, **solver)
    semi = ot.smooth.smooth_ot_semi_dual(mu, nu, cost, **solver)
    listed = dict(mu=mu, nu=nu, cost=cost.ravel(), dual=dual.ravel(), semiDual=semi.ravel())
    return dict(u=u, v=v, alpha=alpha, **{name: values.round(12).tolist() for name, values in listed.items()})


problems = [
    problem(u, v, alpha, uniform)
    for u, v in [(1, 4), (3, 4), (5, 5), (8, 6), (12, 20)]
    for alpha in [0.3, 1, 10, 100]
    for uniform in [True, False]
]
print(f"POT {ot.__version__}, numpy {np.__version__}", file=sys.stderr)
print("[\n" + ",\n".join(json.dumps(p) for p in problems) + "\n]")
