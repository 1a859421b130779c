"""Where a sampler stops. Door: f(process, n, *, t_min=None, t_max=None, ...) -> ts [n + 1],
strictly falling, ends exact.
"""

from jaxgen.grids._grids import karras, log_snr, power, uniform

__all__ = ["karras", "log_snr", "power", "uniform"]
