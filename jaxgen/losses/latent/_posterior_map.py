"""Learning to condition: one network for the posteriors of a whole family of problems."""


def posterior_map(simulate, posterior, *, target=None):
    """loss_fn(params, key) -> [] nats: -log q(x | problem) at an x [*event] that was drawn first,
    its problem after it; on average KL(posterior || q) plus an entropy that q does not change.

    The minimum over all q is the exact posterior of every problem; nothing but draws of the joint
    law is asked for, no likelihood. No data: problems are simulated.
    Args: simulate(key) -> (x [*event], problem, any tree), such as a prior written by
        `densities.mixture_rows`, drawn too, and the data that x made; posterior(params, problem) ->
        `Distribution` of x; target(problem) -> `Distribution`, the exact posterior where it is
        known: its log-density is added, so that the mean of the loss is the KL itself, >= 0, with
        far less noise once q is close, and the same gradient.
    Source: Whittle et al. 2025, arXiv 2502.02463; Papamakarios and Murray 2016, arXiv
    1605.06376, proposition 1.
    """

    def loss_fn(params, key):
        x, problem = simulate(key)
        missed = -posterior(params, problem).logdensity(x)
        return missed if target is None else missed + target(problem).logdensity(x)

    return loss_fn
