"""How an experiment ends: user errors become one line and exit code 2."""

import sys
import tempfile


def ended(name, work, argv) -> int:
    """The exit code of work(argv): 0, 2 for a user's error, 130 when interrupted."""
    try:
        work(argv)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def smoked(name, main) -> None:
    """Runs main(["--smoke", "--run", folder]) in a temporary folder; RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        code = main(["--smoke", "--run", folder + "/run"])
    if code:
        raise RuntimeError(f"{name}: the smoke run must end with 0; got {code}")
