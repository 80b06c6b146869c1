"""What every test shares: the backend markers and a clean slate of global state."""

import importlib.util
import os
import tempfile

# The tests compile the same small programs again and again: where JAX is the backend,
# each process keeps those it has made. To be set before JAX is imported.
COMPILED = tempfile.TemporaryDirectory(prefix="keras_tricks_compiled_")
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402


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


@pytest.fixture(autouse=True, scope="module")
def _no_more_programs_than_needed():
    """A process holds all that JAX has compiled: several gigabytes for all tests."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def undrawn(monkeypatch):
    """Zeros for weights that nobody looks at: JAX compiles each draw."""

    def zeros(self, shape, dtype=None, **options):
        return np.zeros(shape, keras.backend.standardize_dtype(dtype))

    kinds = keras.initializers
    for kind in (kinds.VarianceScaling, kinds.Orthogonal, kinds.RandomUniform):
        monkeypatch.setattr(kind, "__call__", zeros)
