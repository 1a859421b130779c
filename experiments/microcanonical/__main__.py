"""`python -m experiments.microcanonical`."""

import sys

from experiments.microcanonical._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
