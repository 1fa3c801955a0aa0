"""Write the drawn catalogue: `python -m tests.support.drawn_catalogue OUTPUT_DIR --seed 3`."""

import argparse
from pathlib import Path

from .catalogue import Size, write_catalogue


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.drawn_catalogue", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--test", type=int, default=0, help="test queries besides dev")
    options = parser.parse_args()
    size = Size(test=options.test)
    write_catalogue(options.folder, options.seed, size, workers=options.workers)


if __name__ == "__main__":
    main()
