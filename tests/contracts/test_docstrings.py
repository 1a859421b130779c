"""Every public name says what comes back, the shapes of its arrays, and where it comes from."""

import importlib
import inspect
import pkgutil
import re
import sys
from typing import NamedTuple

import pytest

import jaxgen

# Names that hand over no array, and doors about trees of any shape, files and devices.
NO_SHAPES: frozenset[str] = frozenset({"jaxgen.types.Trainer"})
NO_SHAPES_DOORS = ("jaxgen.training",)
# Names that come from nowhere but this library and need no paper.
NO_SOURCE: frozenset[str] = frozenset()

SHAPE = re.compile(r"\[[^\]]*\]")
SOURCE = re.compile(r"Sources?:|arXiv|\b(1[789]|20)\d\d\b|[Dd]efinition")


def doors() -> list[str]:
    """Importable public modules below jaxgen: rooms, their doors, and the nouns."""
    found = [
        module.name
        for module in pkgutil.walk_packages(jaxgen.__path__, "jaxgen.", onerror=lambda name: None)
        if not any(part.startswith("_") for part in module.name.split("."))
    ]
    return sorted(found)


def public(module) -> dict[str, object]:
    """The names in `__all__`; without one, what the module itself defines."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


def text_with_comments(value) -> str:
    """The docstring; for a record also its fields, whose comments state their shapes."""
    doc = inspect.getdoc(value) or ""
    if not inspect.isclass(value):
        return doc
    try:
        return doc + inspect.getsource(value)
    except (OSError, TypeError):
        return doc


def head_of(value) -> str:
    """The docstring of the private file that holds a concept: its paper may be named there."""
    name = getattr(inspect.unwrap(value), "__module__", None) or ""
    concept = any(part.startswith("_") for part in name.split("."))
    return (sys.modules[name].__doc__ or "") if concept and name in sys.modules else ""


def faults(name: str, value) -> list[str]:
    """What a docstring lacks, one line each."""
    doc = inspect.getdoc(value) or ""
    automatic = inspect.isclass(value) and doc.startswith((f"{value.__name__}(", "Alias for"))
    inherited = inspect.isclass(value) and not value.__dict__.get("__doc__")
    if not doc or automatic or inherited:
        return [f"{name}: must have a docstring; got {doc[:40]!r}"]
    found, first = [], " ".join(doc.split("\n\n")[0].split())
    if not first.endswith("."):
        found.append(f"{name}: first paragraph must end with a period; got {first!r}")
    error = inspect.isclass(value) and issubclass(value, BaseException)
    shapeless = name in NO_SHAPES or name.startswith(NO_SHAPES_DOORS)
    if not error and not shapeless and not SHAPE.search(text_with_comments(value)):
        found.append(f"{name}: must give shapes in brackets, such as [n, *event]; got {first!r}")
    sourced = SOURCE.search(doc) or SOURCE.search(head_of(value))
    if not error and name not in NO_SOURCE and not sourced:
        found.append(f"{name}: must name a source; got {first!r}")
    return found


@pytest.mark.parametrize("door", doors())
def test_every_public_name_is_described(door):
    module = importlib.import_module(door)
    assert (module.__doc__ or "").strip(), f"{door}: the door must have a docstring"
    names = public(module)
    assert not [name for name in names if name.startswith("_")]
    found = []
    for name, value in names.items():
        if callable(value) and not inspect.ismodule(value) and hasattr(value, "__name__"):
            found += faults(f"{door}.{name}", value)
    assert found == []


def test_packages_have_a_door_with_all():
    for door in doors():
        module = importlib.import_module(door)
        if hasattr(module, "__path__"):
            assert hasattr(module, "__all__"), f"{door}: the door must state __all__"


def test_a_method_is_at_one_address():
    seen = {}
    for door in doors():
        for name, value in public(importlib.import_module(door)).items():
            if inspect.isfunction(value):
                seen.setdefault(id(value), set()).add(f"{door}.{name}")
    assert [sorted(addresses) for addresses in seen.values() if len(addresses) > 1] == []


def test_the_allow_lists_name_what_exists():
    names = {f"{door}.{name}" for door in doors() for name in public(importlib.import_module(door))}
    assert names >= NO_SHAPES | NO_SOURCE


class Described(NamedTuple):
    """A record with a stated field. Source: definition."""

    x: object  # [n, *event]


class Undescribed(NamedTuple):
    x: object  # [n, *event]


def good(x):
    """The square of x [*event], elementwise. Source: definition."""


def bare(x): ...


def no_period(x):
    """The square of x [*event]. Source: definition"""  # noqa: D400


def no_shape(x):
    """The square of x. Source: Gauss 1809."""


def no_source(x):
    """The square of x [*event]."""


def test_faults_are_found():
    assert faults("good", good) == []
    assert faults("Described", Described) == []
    for value, expected in [
        (bare, "must have a docstring"),
        (Undescribed, "must have a docstring"),
        (no_period, "must end with a period"),
        (no_shape, "shapes in brackets"),
        (no_source, "must name a source"),
    ]:
        (found,) = faults("name", value)
        assert expected in found
