"""Paired timings: two functions in turn, so that the machine's moods cancel in their ratio."""

import subprocess
import sys
import time

import jax
import numpy as np


def paired(ours, theirs, repeats):
    """Median seconds of ours and theirs, and the median of the ratios [] of neighbouring runs."""
    times = np.array([[_seconds(ours), _seconds(theirs)] for _ in range(repeats)])
    ratios = times[:, 0] / times[:, 1]
    return float(np.median(times[:, 0])), float(np.median(times[:, 1])), float(np.median(ratios))


def fresh(code, repeats):
    """Median seconds that `code` reports by printing them, each run in a new process."""
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(repeats)
    ]
    return np.array([float(run.stdout.split()[-1]) for run in runs])


def _seconds(run):
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start
