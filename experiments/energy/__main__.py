"""`python -m experiments.energy`."""

import sys

from experiments.energy._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
