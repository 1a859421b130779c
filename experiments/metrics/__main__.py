"""`python -m experiments.metrics`."""

import sys

from experiments.metrics._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
