"""`python -m experiments.posterior_maps`."""

import sys

from experiments.posterior_maps._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
