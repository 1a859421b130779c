"""`python -m experiments.processes`."""

import sys

from experiments.processes._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
