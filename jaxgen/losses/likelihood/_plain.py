"""The negative log-likelihood of data as they are."""


def negative_log_likelihood(log_prob):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> [] = -log_prob(params, x0, **cond),
    nats.

    On data near a manifold of lower dimension it has no minimum: see `mollified` and
    `instance_noise`. Source: Fisher 1922.
    """
    return lambda params, key, x0, t=None, **cond: -log_prob(params, x0, **cond)
