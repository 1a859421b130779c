"""The import rules of the house, read from the source of every file without importing it."""

import ast
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

FLOORS = {
    room: floor
    for floor, rooms in enumerate(
        [
            "types",
            "math",
            "grids geometry kernels densities",
            "processes mixtures statespace points gps metrics",
            "predictions energies flows",
            "losses solvers mcmc smc vi",
            "likelihoods training",
            "distillation",
        ]
    )
    for room in rooms.split()
}
SHEDS = {"nets", "data"}  # lent to users: imported by no room, importing only floors 0 and 1
ROOF = ""  # jaxgen/__init__.py

EVERYWHERE = {"jax", "jaxlib", "numpy", "chex", "blackjax"}
ONLY_IN = {  # third party -> the rooms that may import it
    "flax": {"nets"},
    "optax": {"training"},
    "orbax": {"training"},
    "diffrax": set(FLOORS),  # and only one file, see below
    "sklearn": {"data"},
    "mlxtend": {"data"},
}
# Imported inside functions: extras, and blackjax, whose import starts JAX's devices (the processes
# of a distributed run join before that).
LAZY = {"sklearn", "mlxtend", "blackjax"}
ONE_FILE = {"diffrax"}
BOUNDARIES = {"jit", "pmap", "filter_jit"}  # the user owns them
JIT_ALLOWED: frozenset[str] = frozenset()  # paths below the root, for example "jaxgen/x/_y.py"
RECORD_METHODS = {"_replace", "_asdict", "_fields", "_make"}  # public API of a NamedTuple


class Import(NamedTuple):
    """One imported name: `from a.b import c` is a.b.c, so that modules and names read alike."""

    target: str
    bound: str  # the local name
    line: int
    lazy: bool
    relative: bool


def private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__") and part not in RECORD_METHODS


def imports(tree: ast.AST) -> Iterator[Import]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(child) for function in functions for child in ast.walk(function)}
    for node in ast.walk(tree):
        lazy = id(node) in inside
        if isinstance(node, ast.Import):
            for name in node.names:
                bound = name.asname or name.name.split(".")[0]
                yield Import(name.name, bound, node.lineno, lazy, False)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                target = f"{node.module}.{name.name}" if node.module else name.name
                bound = name.asname or name.name
                yield Import(target, bound, node.lineno, lazy, node.level > 0)


def chains(tree: ast.AST) -> Iterator[tuple[list[str], int]]:
    """Attribute chains a.b.c that start at a name, longest first among equals."""
    for node in ast.walk(tree):
        parts, here = [], node
        while isinstance(here, ast.Attribute):
            parts.append(here.attr)
            here = here.value
        if parts and isinstance(here, ast.Name):
            yield [here.id, *reversed(parts)], node.lineno


def room_of(target: str) -> str:
    """'jaxgen.solvers.ode.heun' -> 'solvers'; 'jaxgen' -> the roof."""
    return (target.split(".") + [ROOF])[1]


def wrong_floor(room: str, target: str) -> str | None:
    other = room_of(target)
    if other == room:
        return None
    if other == ROOF:
        return "a room must not import the roof"
    if other in SHEDS:
        return f"{other} is a shed and must be imported by no room"
    if other not in FLOORS:
        return f"room {other!r} must have a floor"
    ceiling = 2 if room in SHEDS else FLOORS[room]
    if FLOORS[other] >= ceiling:
        return f"{room} must import floors below {ceiling}; {other} is on floor {FLOORS[other]}"
    return None


def wrong_third_party(room: str, imported: Import) -> str | None:
    package = imported.target.split(".")[0]
    if package == "jaxgen" or package in sys.stdlib_module_names:
        return None
    if package not in EVERYWHERE and room not in ONLY_IN.get(package, set()):
        return f"{package} must not be imported in {room or 'the roof'}"
    if package in LAZY and not imported.lazy:
        return f"{package} must be imported inside a function"
    return None


def private_uses(tree: ast.AST, room: str | None) -> Iterator[tuple[str, int]]:
    """Private names of jaxgen reached from outside their room, by import or by attribute."""
    bound = {}
    for imported in imports(tree):
        parts = imported.target.split(".")
        if parts[0] != "jaxgen":
            continue
        bound[imported.bound] = ["jaxgen"] if imported.bound == "jaxgen" else parts
        if any(map(private, parts)) and room_of(imported.target) != room:
            yield imported.target, imported.line
    for (head, *rest), line in chains(tree):
        full = bound.get(head, []) + rest
        if head in bound and any(map(private, rest)) and room_of(".".join(full)) != room:
            yield ".".join(full), line


def library_file(path: pathlib.Path, root: pathlib.Path) -> Iterator[str]:
    where = path.relative_to(root).as_posix()
    inside = path.relative_to(root / "jaxgen").with_suffix("").parts
    room = ROOF if inside == ("__init__",) else inside[0]
    if room != ROOF and room not in FLOORS and room not in SHEDS:
        yield f"{where}: room {room!r} must have a floor"
        return
    tree = ast.parse(path.read_text(), where)
    for imported in imports(tree):
        at = f"{where}:{imported.line}"
        if imported.relative:
            yield f"{at}: imports must be absolute"
            continue
        faults = [wrong_third_party(room, imported)]
        if imported.target.split(".")[0] == "jaxgen" and room != ROOF:
            faults.append(wrong_floor(room, imported.target))
        yield from (f"{at}: {fault}; got {imported.target}" for fault in faults if fault)
    for target, line in private_uses(tree, room):
        yield f"{where}:{line}: must go through the door; got {target}"
    if where not in JIT_ALLOWED:
        names = [(imported.target.split("."), imported.line) for imported in imports(tree)]
        for parts, line in [*names, *chains(tree)]:
            if len(parts) > 1 and parts[-1] in BOUNDARIES:
                yield f"{where}:{line}: the library must not compile; got {'.'.join(parts)}"


def notebook_source(path: pathlib.Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    lines = "".join("".join(c["source"]) + "\n" for c in cells if c["cell_type"] == "code")
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines.splitlines())


def violations(root: pathlib.Path) -> list[str]:
    """Every broken import rule below a root, as lines that say where, what must hold, what is."""
    found, users = [], {package: [] for package in ONE_FILE}
    for path in sorted((root / "jaxgen").rglob("*.py")):
        found += library_file(path, root)
        packages = {i.target.split(".")[0] for i in imports(ast.parse(path.read_text()))}
        for package in packages & ONE_FILE:
            users[package].append(path.relative_to(root).as_posix())
    found += [
        f"{package} must be imported by one file; got {files}"
        for package, files in users.items()
        if len(files) > 1
    ]
    lessons = [*(root / "experiments").rglob("*.py"), *(root / "notebooks").rglob("*.py")]
    sources = [(path, path.read_text()) for path in sorted(lessons)]
    sources += [(p, notebook_source(p)) for p in sorted((root / "notebooks").rglob("*.ipynb"))]
    for path, source in sources:
        where = path.relative_to(root).as_posix()
        found += [
            f"{where}:{line}: must use public names; got {target}"
            for target, line in private_uses(ast.parse(source, where), None)
        ]
    return found


def test_the_house_keeps_its_floors():
    assert violations(ROOT) == []


SOUND = {
    "jaxgen/__init__.py": "from jaxgen import nets, solvers\nfrom jaxgen.solvers import solve\n",
    "jaxgen/types.py": "import jax\n",
    "jaxgen/math/__init__.py": "from jaxgen.math._host import on_host\n",
    "jaxgen/math/_host.py": "import functools\nimport numpy as np\n",
    "jaxgen/grids/__init__.py": "from jaxgen.types import Array\n",
    "jaxgen/solvers/__init__.py": "from jaxgen import math\nimport jaxgen.solvers._solve\n",
    "jaxgen/solvers/_solve.py": "import jax\ndef solve(x):\n    return x._replace(t=jax.grad)\n",
    "jaxgen/solvers/ode/_adaptive.py": "import diffrax\nfrom jaxgen.solvers._solve import solve\n",
    "jaxgen/nets/__init__.py": "import flax.linen as nn\nfrom jaxgen.math import on_host\n",
    "jaxgen/training/__init__.py": "import optax\nimport orbax.checkpoint as ocp\n",
    "jaxgen/data/__init__.py": "def digits8():\n    from sklearn import datasets\n",
    "experiments/images.py": "import jaxgen as jg\ny = jg.solve(1)._replace(x=2)\n",
}


def build(root: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_sound_tree_passes(tmp_path):
    assert violations(build(tmp_path, SOUND)) == []


NOTEBOOK = json.dumps(
    {
        "cells": [
            {"cell_type": "markdown", "source": ["import nothing._here"]},
            {"cell_type": "code", "source": ["%pip install jaxgen\n", "import jaxgen.grids._g"]},
        ]
    }
)
FAULTS = [
    ("jaxgen/grids/_a.py", "from jaxgen.processes import vp", "floors below 2"),
    ("jaxgen/grids/_a.py", "from jaxgen import densities", "floors below 2"),
    ("jaxgen/grids/_a.py", "def f():\n    import jaxgen.solvers.ode", "floors below 2"),
    ("jaxgen/math/_a.py", "from jaxgen.grids import power", "floors below 1"),
    ("jaxgen/types.py", "from jaxgen import math", "floors below 0"),
    ("jaxgen/losses/_a.py", "from jaxgen import solvers", "floors below 5"),
    ("jaxgen/solvers/_a.py", "import jaxgen as jg", "must not import the roof"),
    ("jaxgen/solvers/_a.py", "from jaxgen.nets import mlp", "is a shed"),
    ("jaxgen/solvers/_a.py", "from jaxgen.attic import x", "must have a floor"),
    ("jaxgen/attic/_a.py", "import jax", "must have a floor"),
    ("jaxgen/attic.py", "import jax", "must have a floor"),
    ("jaxgen/nets/_a.py", "from jaxgen.grids import power", "floors below 2"),
    ("jaxgen/data/_a.py", "from jaxgen.nets import mlp", "is a shed"),
    ("jaxgen/solvers/_a.py", "from . import _solve", "must be absolute"),
    ("jaxgen/solvers/_a.py", "from jaxgen.math._host import on_host", "through the door"),
    ("jaxgen/solvers/_a.py", "from jaxgen.math import _host", "through the door"),
    ("jaxgen/solvers/_a.py", "from jaxgen import math\nf = math._host.on_host", "through the door"),
    ("jaxgen/__init__.py", "from jaxgen.math._host import on_host", "through the door"),
    ("jaxgen/training/_a.py", "import flax", "flax must not be imported in training"),
    ("jaxgen/losses/_a.py", "import optax", "optax must not be imported in losses"),
    ("jaxgen/losses/_a.py", "from orbax import checkpoint", "orbax must not"),
    ("jaxgen/math/_a.py", "import torch", "torch must not be imported in math"),
    ("jaxgen/data/_a.py", "import sklearn.datasets", "inside a function"),
    ("jaxgen/mcmc/_a.py", "from blackjax.base import SamplingAlgorithm", "inside a function"),
    ("jaxgen/likelihoods/_a.py", "import diffrax", "diffrax must be imported by one file"),
    ("jaxgen/solvers/_a.py", "import jax\n@jax.jit\ndef f(x):\n    return x", "must not compile"),
    ("jaxgen/solvers/_a.py", "from jax import jit as fast", "must not compile"),
    ("jaxgen/nets/_a.py", "from flax import nnx\nf = nnx.jit(g)", "must not compile"),
    ("jaxgen/solvers/_a.py", "import jax\nf = jax.pmap(g)", "must not compile"),
    ("experiments/a.py", "from jaxgen.math._host import on_host", "public names"),
    ("experiments/a.py", "import jaxgen as jg\njg.math._host.on_host(f)", "public names"),
    ("experiments/b/c.py", "from jaxgen import solvers\nsolvers._solve", "public names"),
    ("notebooks/a.ipynb", NOTEBOOK, "notebooks/a.ipynb:2: must use public names"),
]


@pytest.mark.parametrize(("name", "text", "expected"), FAULTS)
def test_a_planted_fault_is_found(tmp_path, name, text, expected):
    found = violations(build(tmp_path, SOUND | {name: text}))
    assert any(expected in line for line in found), found
