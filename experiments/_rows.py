"""Results as files."""

import csv


def write_csv(path, rows):
    """A CSV with the columns of the first row."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
