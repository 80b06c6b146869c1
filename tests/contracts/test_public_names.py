"""Every public name is listed, has a recipe and carries its method card."""

import importlib
import inspect
import pkgutil
import types

import pytest
from contracts import recipes

import keras_tricks as kt

CARD = ("When:", "Typical:", "Costs:", "Beware:")
SECTIONS = ("Args:", "Returns:", "Raises:", "Example:", "Reference:")


def rooms():
    """The public modules, by dotted name inside the package."""
    found = {"": kt}
    for module in pkgutil.iter_modules(kt.__path__):
        if module.ispkg and not module.name.startswith("_"):
            found[module.name] = importlib.import_module(f"{kt.__name__}.{module.name}")
    return found


def public_names():
    for room, module in rooms().items():
        for name in module.__all__:
            if not name.startswith("_") and not inspect.ismodule(getattr(module, name)):
                yield f"{room}.{name}".lstrip(".")


def test_every_public_name_has_a_recipe_and_every_recipe_a_name():
    assert sorted(public_names()) == sorted(recipes.RECIPES)


def test_every_room_is_listed():
    listed = {n for n in kt.__all__ if isinstance(getattr(kt, n), types.ModuleType)}
    assert listed == set(rooms()) - {""}
    assert dir(kt) == kt.__all__


@pytest.mark.parametrize("room", sorted(set(rooms()) - {""}))
def test_a_room_lists_all_that_its_public_files_define(room):
    module = rooms()[room]
    defined = set()
    for file in pkgutil.iter_modules(module.__path__):
        if file.name.startswith("_"):
            continue
        part = importlib.import_module(f"{module.__name__}.{file.name}")
        defined |= {
            name
            for name, thing in vars(part).items()
            if getattr(thing, "__module__", None) == part.__name__
            and not name.startswith("_")
            and (inspect.isclass(thing) or inspect.isfunction(thing))
        }
    assert defined == set(module.__all__)


@pytest.mark.parametrize("name", sorted(set(recipes.RECIPES) - {"NoEffectWarning"}))
def test_the_docstring_is_a_method_card(name):
    thing = recipes.public(name)
    doc = inspect.cleandoc(thing.__doc__)
    lines = doc.splitlines()
    assert lines[0].endswith("."), "the first line is a sentence"
    starts = [line.split(":")[0] + ":" for line in lines if line[:1].isalpha()]
    for section in CARD:
        assert section in starts
    order = [section for section in (*CARD, *SECTIONS) if section in starts]
    assert [s for s in starts if s in (*CARD, *SECTIONS)] == order
    assert {"Args:", "Raises:", "Example:", "Reference:"} <= set(order)
    if isinstance(recipes.RECIPES[name], recipes.Function):
        assert "Returns:" in order
    assert ">>> " in doc
    documented = set(inspect.signature(thing).parameters)
    for parameter in documented - {"self", "args", "kwargs"}:
        assert f"    {parameter}: " in doc, f"`{parameter}` is not in Args"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'schedule'"):
        _ = kt.schedule
