"""The complete recipe for quadratic energies: all linear diffusions with a given stationary law."""

import numpy as np

from jaxgen.math import is_concrete, namespace, semidefinite_factor
from jaxgen.processes._record import check_positive
from jaxgen.processes.augmented._linear import linear


def recipe(damping, curl, precision, start=(), **options):
    """dz = -beta (D + Q) H z dt + sqrt(2 beta D) dw on z [c, *event], with stationary law N(0,
    H^-1); coefficients [c, c].

    Args: D = damping [c, c], symmetric, positive semidefinite; Q = curl [c, c], skew; H = diag of
        precision [c], positive; start [c - 1] and options (beta_min, beta_max, t_min, t_max) as
        `linear`. Every linear diffusion with that law has this form.
    Raises ValueError when D, Q or H is not what it must be, and as `linear`. For energies that are
    not quadratic see `processes.nonlinear`. Source: Ma et al. 2015, arXiv 1506.04696, equations
    2-3; Pandey and Mandt 2023, arXiv 2303.01748, section 2.2, equations 2-4.
    """
    name = "processes.augmented.recipe"
    c = np.shape(precision)[0] if np.ndim(precision) == 1 else 0
    if c < 1 or np.shape(damping) != (c, c) or np.shape(curl) != (c, c):
        raise ValueError(
            f"{name}: damping [c, c], curl [c, c], precision [c] must fit; "
            f"got shapes {np.shape(damping)}, {np.shape(curl)}, {np.shape(precision)}"
        )
    check_positive(name, precision=precision)
    if is_concrete(damping, curl):
        damping, curl = np.asarray(damping, float), np.asarray(curl, float)
        values = np.linalg.eigvalsh((damping + damping.T) / 2)
        if not np.allclose(damping, damping.T) or values[0] < -1e-12 * max(values[-1], 1.0):
            raise ValueError(
                f"{name}: damping must be symmetric and positive semidefinite; got {damping}"
            )
        if not np.allclose(curl, -curl.T):
            raise ValueError(f"{name}: curl must be skew; got {curl}")
    impulse = semidefinite_factor(2 * namespace(damping).asarray(damping))
    return _of_root(impulse, damping, curl, precision, start, "recipe", options)


def mdm(root, curl, precision=None, start=None, **options):
    """A learnable multivariate diffusion on z [c, *event]: the `recipe` with D = R R^T and Q = S -
    S^T for any matrices R = root and S = curl [c, c]; coefficients [c, c].

    Args: precision [c], the stationary one, 1 when None; start [c - 1], the auxiliaries' first
        variances, 1 / precision when None; options as `linear`. root [c, m] may have any number of
        columns: m noises.
    Every real R and S is a legal process that forgets into N(0, 1 / precision), so both can be
    learned by gradient, with the likelihood bound as the objective. Raises ValueError as `recipe`.
    Source: Singhal et al. 2023, arXiv 2302.07261.
    """
    name = "processes.augmented.mdm"
    c = np.shape(root)[0] if np.ndim(root) == 2 else 0
    precision = np.ones(c) if precision is None else precision
    if c < 1 or np.shape(curl) != (c, c) or np.shape(precision) != (c,):
        raise ValueError(
            f"{name}: root [c, m], curl [c, c], precision [c] must fit; "
            f"got shapes {np.shape(root)}, {np.shape(curl)}, {np.shape(precision)}"
        )
    check_positive(name, precision=precision)
    xp = namespace(root, curl, precision)
    root, curl, precision = (xp.asarray(part) for part in (root, curl, precision))
    start = 1 / precision[1:] if start is None else start
    impulse = np.sqrt(2.0) * root
    return _of_root(impulse, root @ root.T, curl - curl.T, precision, start, "mdm", options)


def _of_root(impulse, damping, curl, precision, start, name, options):
    xp = namespace(damping, curl, precision)
    matrix = -(xp.asarray(damping) + xp.asarray(curl)) * xp.asarray(precision)[None]
    return linear(matrix, impulse, start, name=name, **options)
