"""Small networks: `f(event_shape, *, ...) -> Net(init, apply)`.

`init(key) -> params`; `apply(params, x [*event], t [], label=int []) -> [*event]`, one example. A
shed: no room of jaxgen imports it, and any function `apply(params, x, t, **cond)` does as well.

Labels are 0 .. num_classes - 1; `label=num_classes`, -1, or no label at all mean "no label": drop
labels during training by replacing them with num_classes, and guide with
`predictions.guidance.cfg(conditional, unconditional, weight)` on two calls of the same network.
"""

from jaxgen.nets._mlp import mlp as mlp
from jaxgen.nets._net import Net as Net
from jaxgen.nets._unet import unet as unet

__all__ = ["Net", "mlp", "unet"]
