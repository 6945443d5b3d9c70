"""Keras's own tests of its recurrent layers pass with legato's layers in the place of Keras's.

The tests are those installed inside the keras package. They are run twice, each time in a process
of its own: as they are, and with the plugin ``keras_own/plugin.py``, which exchanges the layers.
``EXPECTED`` says where the two may differ, and why; anything else that differs is a bug here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent
TESTED = Path(keras.__file__).parent / "src" / "layers" / "rnn"
MODULES = (
    "lstm gru simple_rnn rnn stacked_rnn_cells dropout_rnn_cell bidirectional time_distributed "
    "conv_lstm conv_lstm1d conv_lstm2d conv_lstm3d"
).split()
FEWEST_TESTS = 70  # Keras 3.15 has 79; a run that finds hardly any has tested nothing

EXPECTED = {
    # Keras calls the test class of its Bidirectional SimpleRNNTest.
    "bidirectional_test.py::SimpleRNNTest::test_statefulness": (
        "Keras starts the backward half where it ended the sample before, at that sample's first "
        "time step; legato's starts every sample fresh (rule 10 of the state contract)"
    ),
    "rnn_test.py::RNNTest::test_stateful_batch_size_mismatch_raises": (
        "legato refuses it too, with a ValueError in its own words"
    ),
}


def outcomes(folder: Path, baseline: bool) -> dict[str, str]:
    """What came of each of Keras's tests; both runs keep their compiled programs in the folder."""
    found = folder / f"{'keras' if baseline else 'legato'}.json"
    environment = dict(os.environ) | {"KERAS_BACKEND": "jax"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE / "keras_own")])
    environment["JAX_COMPILATION_CACHE_DIR"] = str(folder / "programs")
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["LEGATO_KERAS_OWN_OUTCOMES"] = str(found)
    environment["LEGATO_KERAS_OWN_BASELINE"] = "1" if baseline else ""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", str(TESTED), "--tb=short"]
    command += [str(TESTED / f"{module}_test.py") for module in MODULES]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: some of the tests failed
    print(done.stdout)  # shown by pytest if what follows fails
    return json.loads(found.read_text())


@pytest.mark.slow
def test_kerass_own_tests_pass_with_legatos_layers(tmp_path):
    with_keras = outcomes(tmp_path, baseline=True)
    with_legato = outcomes(tmp_path, baseline=False)
    assert list(with_legato) == list(with_keras)
    assert len(with_keras) >= FEWEST_TESTS
    different = {name for name in with_keras if with_keras[name] != with_legato[name]}
    assert different == set(EXPECTED)
    assert {with_legato[name] for name in different} == {"failed"}
