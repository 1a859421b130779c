"""Finished parts of a run, so that an interrupted one goes on where it stopped."""

import json


def kept(path, stamp, make):
    """What make() gives, read back from `path` when it holds those of the same stamp.

    It is made of lists, dictionaries, strings and numbers; the stamp is all that it depends on.
    ValueError
    when the file is not one that this function wrote.
    """
    stamp = json.loads(json.dumps(stamp))
    if path.exists():
        try:
            found = json.loads(path.read_text())
            if found["stamp"] == stamp:
                return found["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"kept: {path} must hold rows of an earlier run; got {error!r}"
            ) from error
    rows = json.loads(json.dumps(make(), default=float))
    path.write_text(json.dumps({"stamp": stamp, "rows": rows}, indent=1))
    return rows
