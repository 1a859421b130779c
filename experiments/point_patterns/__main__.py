"""`python -m experiments.point_patterns`."""

import sys

from experiments.point_patterns._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
