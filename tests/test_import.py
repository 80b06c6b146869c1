"""What `import keras_tricks` brings along, and where it comes from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_tricks as kt

HEAVY = {"jax", "tensorflow", "torch", "matplotlib", "pandas", "sklearn"}
SCRIPT = """
import json, sys
import keras
before = set(sys.modules)
import keras_tricks
print(json.dumps([name.split(".")[0] for name in set(sys.modules) - before]))
"""


def test_it_imports_nothing_heavy_that_keras_did_not():
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    assert not HEAVY & set(json.loads(output.splitlines()[-1]))


@pytest.mark.skipif(
    "TOX_ENV_NAME" not in os.environ, reason="only tox installs the built wheel"
)
def test_the_tests_run_against_the_installed_wheel():
    assert Path(kt.__file__).is_relative_to(sys.prefix)
    assert (Path(kt.__file__).parent / "py.typed").exists()


def test_sub_packages_load_on_first_use_but_serializable_classes_at_once():
    script = (
        "import keras, keras_tricks, sys\n"
        "print('keras_tricks.probes' in sys.modules)\n"
        "print(keras.saving.get_registered_object('keras_tricks>Warmup'))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines()[-2:] == ["False", str(kt.schedules.Warmup)]
    assert keras.saving.get_registered_object("keras_tricks>Scaled")
