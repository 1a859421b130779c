"""Stein discrepancies: a sample against a law known by its score.

The door's signature is `f(xs [n, *event], score, kernel=None, *, ...)`; a random one takes its key
first. `score` is a function x [*event] -> [*event], the gradient of the law's log-density (no
normaliser needed), or its values [n, *event] at xs.
"""

from jaxgen.metrics.stein._ksd import KSDTest, ksd2, ksd_test

__all__ = ["KSDTest", "ksd2", "ksd_test"]
