"""`python -m experiments.tabular`."""

import sys

from experiments.tabular._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
