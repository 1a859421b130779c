"""`python -m experiments.samplers`."""

import sys

from experiments.samplers._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
