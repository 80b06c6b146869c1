"""What every test shares: the backend markers and a clean slate of global state."""

import importlib.util

import keras
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        for marker in item.iter_markers("backend"):
            if keras.backend.backend() not in marker.args:
                item.add_marker(pytest.mark.skip(reason=marker.kwargs["reason"]))
        for marker in item.iter_markers("needs"):
            (module,) = marker.args
            if importlib.util.find_spec(module) is None:
                item.add_marker(pytest.mark.skip(reason=f"{module} is not installed"))


@pytest.fixture(autouse=True)
def _fixed_seed():
    keras.utils.set_random_seed(1)
