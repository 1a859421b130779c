"""Data parallelism: `parse("data=8") -> Mesh`, `shard_batch`, `replicate`, `join_processes`.

Shard the batch, replicate the state and the keys, and jit the step as on one device: the sharding
of the arguments does the rest. On CPUs wait for a result at least every 10 steps: hundreds of
collectives in flight abort the process.
"""

from jaxgen.training.mesh._mesh import join_processes as join_processes
from jaxgen.training.mesh._mesh import parse as parse
from jaxgen.training.mesh._mesh import replicate as replicate
from jaxgen.training.mesh._mesh import shard_batch as shard_batch

__all__ = ["join_processes", "parse", "replicate", "shard_batch"]
