"""What every test runs under; the environment is set before JAX is imported anywhere."""

import gc
import importlib.metadata
import os
import pathlib

DEVICES = 4
ROOT = pathlib.Path(__file__).resolve().parents[1]
# A third of the processor time of a test run. Flags that XLA does not know end the process, so one
# that newer versions may have dropped is set where it was tried.
TRIED = importlib.metadata.version("jaxlib").startswith(("0.9.", "0.10."))
FASTER_TO_COMPILE = ("--xla_cpu_use_fusion_emitters=false",) if TRIED else ()

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
for flag in (
    f"--xla_force_host_platform_device_count={DEVICES}",
    "--xla_backend_optimization_level=0",  # most of the time goes into compiling
    *FASTER_TO_COMPILE,
):
    if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()

import jax  # noqa: E402
import pytest  # noqa: E402

# Compiling leaves millions of objects that live long: to look through them seldom saves a few
# hundredths of the processor time.
gc.set_threshold(50_000, 20, 50)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def x32():
    """Run one test as a user without x64 would; `@pytest.mark.usefixtures("x32")` does it too."""
    with jax.enable_x64(False):
        yield


@pytest.fixture
def same_key():
    """Allow one key to be used twice: for tests that compare two ways of calling one function.

    Elsewhere the check stays on. It knows that `fold_in` may be repeated, and raises a false alarm
    on a vmapped scan over pre-split keys: fold the step number in inside the loop instead.
    """
    with jax.debug_key_reuse(False):
        yield
