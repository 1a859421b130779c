"""Maximum likelihood, plain and of noised data. Door: f(log_prob, ...) -> loss_fn(params, key, x0
[*event], t=None, **cond) -> [], nats.

For one example, and any model with log_prob(params, x [*event], **cond) -> []. Beside the losses
stand the noise they need: `mollifier` makes a batch transform, `instance_scale` a noise level.
"""

from jaxgen.losses.likelihood._instance import instance_noise, instance_scale
from jaxgen.losses.likelihood._mollified import mollified, mollifier, sigmoid_mollification
from jaxgen.losses.likelihood._plain import negative_log_likelihood

__all__ = [
    "instance_noise",
    "instance_scale",
    "mollified",
    "mollifier",
    "negative_log_likelihood",
    "sigmoid_mollification",
]
