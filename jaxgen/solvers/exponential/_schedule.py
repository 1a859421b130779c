"""The choices of each step of a sampler, as data, and the named samplers in these words."""

from typing import Any, NamedTuple

from jaxgen.solvers._tables._options import CLOCKS, HOLDS

RELAXATIONS = ("none", "bh1", "bh2")
HIGHEST = 6


class Schedule(NamedTuple):
    """What each of n steps does; every field a tuple of n.

    Source: Liu et al. 2023, arXiv 2312.07243, section 3.
    """

    hold: Any  # [n] of "eps", "x0": the prediction that is polynomial
    clock: Any  # [n] of "t", "log_snr", "rho": in which variable
    order: Any  # [n] of 1 ... 6: terms of the expansion, at most the evaluations of the stencil
    stencil: Any  # [n] tuples of ages, rising from 0: the evaluations that estimate the derivatives
    relaxation: Any  # [n] of "none", "bh1", "bh2": the half rule in expansions of order 2
    corrector: Any  # [n] of bool: whether the evaluation at the arrival corrects the step


def schedule(
    n, *, hold="x0", clock="log_snr", order=1, stencil=None, relaxation="none", corrector=False
):
    """A `Schedule` of n steps with every choice given once for all steps or as a sequence [n].

    While there is no past, orders climb: a stencil loses the ages that reach before the start, and
    the expansion the terms that it cannot estimate. stencil None: the last `order` evaluations.
    Raises ValueError on choices outside those of `Schedule`, or sequences of another length.
    Source: definition.
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(
            f"solvers.exponential.schedule: the number of steps must be at least 1; got {n!r}"
        )
    orders = _each("order", order, n)
    stencils = (stencil,) * n if _is_stencil(stencil) else _each("stencil", stencil, n)
    kept, terms = [], []
    for i, (terms_wanted, ages) in enumerate(zip(orders, stencils, strict=True)):
        _check_order("solvers.exponential.schedule", terms_wanted)
        ages = tuple(range(terms_wanted)) if ages is None else tuple(ages)
        kept.append(tuple(age for age in ages if age <= i or age == ages[0]))
        terms.append(min(terms_wanted, max(len(kept[-1]), 1)))
    made = Schedule(
        _each("hold", hold, n),
        _each("clock", clock, n),
        tuple(terms),
        tuple(kept),
        _each("relaxation", relaxation, n),
        _each("corrector", corrector, n),
    )
    check_schedule("solvers.exponential.schedule", made)
    return made


def named_schedule(name, n, **options):
    """The `Schedule` of n steps, its fields [n], that is the solver `name` of this door: "ddim",
    "deis", "adams_bashforth", "dpmpp_2m" or "unipc", with that solver's options except `start`.

    Raises ValueError on another name, and TypeError on an option the solver lacks. Source: Liu et
    al. 2023, arXiv 2312.07243, section 3.
    """
    if name not in _NAMED:
        raise ValueError(
            f"solvers.exponential.named_schedule: name must be one of {', '.join(_NAMED)}; "
            f"got {name!r}"
        )
    return _NAMED[name](n, **options)


def reach(schedule):
    """How many past rows, this one included, the table of a schedule reads: its width.

    Source: definition.
    """
    return max(
        max(ages) + 1 + bool(corrector)
        for ages, corrector in zip(schedule.stencil, schedule.corrector, strict=True)
    )


def check_schedule(where, schedule):
    """Raises ValueError unless the fields of a `Schedule` have one length [n] and known choices.

    Source: definition.
    """
    lengths = tuple(len(field) for field in schedule)
    if len(set(lengths)) != 1 or not lengths[0]:
        raise ValueError(f"{where}: fields must have one length n >= 1; got lengths {lengths}")
    for i, (hold, clock, order, ages, relaxation, corrector) in enumerate(
        zip(*schedule, strict=True)
    ):
        for option, value, choices in (
            ("hold", hold, HOLDS),
            ("clock", clock, CLOCKS),
            ("relaxation", relaxation, RELAXATIONS),
            ("corrector", corrector, (False, True)),
        ):
            if value not in choices:
                raise ValueError(
                    f"{where}: {option} must be one of {', '.join(map(str, choices))}; "
                    f"got {value!r} at step {i}"
                )
        _check_order(where, order)
        if not ages or ages[0] != 0 or list(ages) != sorted(set(ages)) or ages[-1] > i:
            raise ValueError(
                f"{where}: a stencil must rise from 0 and not reach before the start; "
                f"got {ages} at step {i}"
            )
        if order > len(ages):
            raise ValueError(
                f"{where}: an expansion must have at most as many terms as its stencil "
                f"evaluations; got order {order} on {ages} at step {i}"
            )


def _check_order(where, order):
    if not isinstance(order, int) or isinstance(order, bool) or not 1 <= order <= HIGHEST:
        raise ValueError(f"{where}: order must be an integer from 1 to {HIGHEST}; got {order!r}")


def _is_stencil(stencil):
    return stencil is None or (len(stencil) > 0 and isinstance(stencil[0], int))


def _each(option, value, n):
    if value is None or isinstance(value, str | int | bool):
        return (value,) * n
    if len(value) != n:
        raise ValueError(
            f"solvers.exponential.schedule: {option} must be one choice or one for each of {n} "
            f"steps; got {len(value)}"
        )
    return tuple(value)


def _ddim(n):
    return schedule(n)


def _adams_bashforth(n, *, order=3, hold="x0", clock="log_snr"):
    return schedule(n, order=order, hold=hold, clock=clock)


def _deis(n, *, order=3, clock="t", hold="eps"):
    return schedule(n, order=order, hold=hold, clock=clock)


def _dpmpp_2m(n):
    return schedule(n, order=2, relaxation="bh2")


def _unipc(n, *, predictor_order=3, hold="x0", variant="bh2"):
    return schedule(n, order=predictor_order, hold=hold, relaxation=variant, corrector=True)


_NAMED = {
    "ddim": _ddim,
    "deis": _deis,
    "adams_bashforth": _adams_bashforth,
    "dpmpp_2m": _dpmpp_2m,
    "unipc": _unipc,
}
