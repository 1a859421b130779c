"""`python -m experiments.images`: train on small real images, sample, measure. See --help."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from experiments.images._run import hook, main  # noqa: E402

if __name__ == "__main__":
    sys.excepthook = sys.unraisablehook = hook
    sys.exit(main(sys.argv[1:]))
