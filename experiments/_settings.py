"""Settings from command-line words: what all experiments ask of them."""

import dataclasses

import tyro


def read(kind, smoke, name, argv):
    """An instance of the dataclass `kind`; with --smoke its defaults are those of `smoke`."""
    name = f"python -m experiments.{name}"
    given = tyro.cli(kind, args=argv, prog=name)
    if given.smoke:
        base = dataclasses.replace(kind(), smoke=True, **smoke)
        given = tyro.cli(kind, args=argv, default=base, prog=name)
    return given


def names(given, **known) -> None:
    """Nothing; ValueError on a field that is empty or holds a word that is not known."""
    for field, words in known.items():
        unknown = [word for word in getattr(given, field) if word not in words]
        if unknown or not getattr(given, field):
            got = ", ".join(unknown) or "none"
            raise ValueError(f"settings: {field} must be among {', '.join(words)}; got {got}")


def at_least(given, **least) -> None:
    """Nothing; ValueError on a field below its least value."""
    for field, low in least.items():
        got = getattr(given, field)
        if got < low:
            raise ValueError(f"settings: {field} must be at least {low}; got {got}")
