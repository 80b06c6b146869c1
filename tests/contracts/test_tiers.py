"""A module imports only from a lower tier or its own folder, never keras.src."""

import ast
from pathlib import Path

import pytest

import keras_tricks as kt

ROOT = Path(kt.__file__).parent
TIERS = {
    "_aligned": 0,
    "_arguments": 0,
    "_atomic": 0,
    "_axes": 0,
    "_backend": 0,
    "_build": 0,
    "_direction": 0,
    "_errors": 0,
    "_layer_kinds": 0,
    "_owner": 0,
    "_patterns": 0,
    "_report": 0,
    "_state": 0,
    "_version": 0,
    "data": 1,
    "fusion": 1,
    "initializers": 1,
    "layers": 1,
    "optimizers": 1,
    "schedules": 1,
    "probes": 2,
    "runs": 2,
    "surgery": 2,
    "ensembles": 3,
    "lint": 3,
    "callbacks": 4,
    "debug": 4,
    "model_selection": 4,
    "wrappers": 5,
}
BACKENDS = {"jax", "jaxlib", "tensorflow", "torch"}
FILES = sorted(ROOT.rglob("*.py"))


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Every imported module, `from package import name` as package.name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_tier():
    assert {room(path) for path in FILES} - {"__init__"} == set(TIERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    here = room(path)
    for name in imports(path):
        top, *rest = name.split(".")
        assert not name.startswith("keras.src"), f"{name} is not public"
        if top in BACKENDS:
            assert here == "_backend", f"{name} belongs into _backend"
        if top == "keras_tricks" and here != "__init__":
            there = rest[0]
            lower = TIERS[there] < TIERS[here] or TIERS[here] == TIERS[there] == 0
            assert there == here or lower, f"{here} may not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_other_room_asks_for_the_backend(path):
    if room(path) == "_backend":
        return
    text = path.read_text()
    assert "backend.backend()" not in text
    assert "config.backend()" not in text
