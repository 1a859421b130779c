"""Instruments measured against distances that are known: bias, spread and cost of every estimator."""

from experiments._command import smoked


def smoke() -> None:
    """The smallest run, in a temporary folder; raises RuntimeError if it fails."""
    from experiments.metrics._run import main

    smoked("experiments.metrics", main)
