"""`python -m experiments.unnormalised`."""

import sys

from experiments.unnormalised._run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
