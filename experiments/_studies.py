"""Experiments made of studies: each is run once, kept, printed, and gathered into one CSV."""

import dataclasses
import pathlib

from experiments._kept import kept
from experiments._rows import write_csv


def run_studies(file, settings, rows_of) -> None:
    """Writes settings.run/`file`, a CSV of what rows_of(name, settings, folder) gives for every
    name of settings.studies; a study found under the same settings is read back.
    """
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = dataclasses.asdict(settings) | {"run": "", "studies": ""}
    rows = []
    for name in settings.studies:
        make = lambda name=name: [{"study": name} | row for row in rows_of(name, settings, folder)]
        found = kept(folder / f"{name}.json", stamp, make)
        print_table(found)
        rows += found
        write_csv(folder / file, rows)
    print(f"  {folder}/{file}")


def print_table(rows):
    """Prints rows in columns, numbers to five digits."""
    lines = [[f"{v:.5g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)))
