"""Every sampler on problems with known answers: error against evaluations, orders, and cost.

`python -m experiments.samplers --help` explains every setting; README.md says what was measured.
`smoke()` runs all of it in its smallest size.
"""

__all__ = ["smoke"]


def smoke() -> None:
    """Runs everything in its smallest size, in a temporary folder; RuntimeError if it fails."""
    import tempfile

    from experiments.samplers._run import main

    with tempfile.TemporaryDirectory() as folder:
        code = main(["--smoke", "--run", folder + "/run"])
    if code:
        raise RuntimeError(f"experiments.samplers: the smoke run must end with 0; got {code}")
