"""Keras's own tests pass with legato's classes in the place of Keras's.

The tests are those installed inside the keras package: of recurrent layers, the trainer, models
and their files, and callbacks. Each group is run with the plugin ``keras_own/plugin.py``, which
exchanges the classes, in a process of its own; and in another, the tests that did not pass are run
as they are. ``EXPECTED`` says which of them may pass there, and why; any other is a bug here.
"""

import json
import os
from fnmatch import fnmatch
from pathlib import Path

import keras
import pytest
from forked import ForkedPython

HERE = Path(__file__).parent
TESTED = Path(keras.__file__).parent / "src"
RECURRENT = (
    "lstm gru simple_rnn rnn stacked_rnn_cells dropout_rnn_cell bidirectional time_distributed "
    "conv_lstm conv_lstm1d conv_lstm2d conv_lstm3d"
).split()
GROUPS = {  # a group of tests: its files
    "layers": [f"layers/rnn/{name}_test.py" for name in RECURRENT],
    "trainer": ["trainers/trainer_test.py"],
    "models": [
        "models/sequential_test.py",
        "models/functional_test.py",
        "models/model_test.py",
        "saving/saving_lib_test.py",
    ],
    "callbacks": ["callbacks"],
}
# A run that finds hardly any has tested nothing. Keras 3.15 has 79, 173, 209 and 88, of which 20 of
# callbacks are found with TensorFlow only.
FEWEST_TESTS = {"layers": 70, "trainer": 150, "models": 180, "callbacks": 60}

RUN_PYTEST = """
import os, sys
_, folder, plugins, *words = sys.argv
os.chdir(folder)
sys.path.insert(0, plugins)
import pytest
sys.exit(pytest.main(words))
"""

WORDS = "legato refuses it too, with a ValueError in its own words"
FINITE = "legato refuses NaN and infinity in the data, which the test gives it on purpose"

EXPECTED: dict[str, dict[str, str]] = {  # a group of tests: names with wildcards, and the reason
    "layers": {
        # Keras calls the test class of its Bidirectional SimpleRNNTest.
        "bidirectional_test.py::SimpleRNNTest::test_statefulness": (
            "Keras starts the backward half where it ended the sample before, at that sample's "
            "first time step; legato's starts every sample fresh: it has no past to carry"
        ),
        "rnn_test.py::RNNTest::test_stateful_batch_size_mismatch_raises": WORDS,
    },
    "trainer": {
        "test_fit_eval_flow_for_jax_model_weights": (
            "it wants the variables' values gone while batches run, by which Keras spares memory; "
            "legato puts the values into the variables before callbacks look at them"
        ),
        "test_steps_per_execution_steps_per_epoch_match_multi_epoch_*": (
            "steps_per_epoch=5 with steps_per_execution=2: Keras makes epochs of 6 and 4 batches, "
            "legato of 5 and 5, where the last execution of each has one batch"
        ),
    },
    "models": {
        "test_bad_input_spec": WORDS,
        "test_rank_standardization_failure": WORDS,
        "test_model_api_errors": WORDS,
    },
    "callbacks": {
        "test_best_case_step": (
            "Keras begins the interrupted epoch again, so that two batches count twice; legato "
            "goes on with the next batch, as if the run had not been interrupted"
        ),
        "test_backup_corrupted": (
            "it damages one of the several files that Keras keeps; legato keeps one, which is "
            "whole or absent"
        ),
        "terminate_on_nan_test.py::*::test_raise_error_terminate_*": FINITE,
        "terminate_on_nan_test.py::*::test_terminate_on_nan_*": FINITE,
    },
}


def outcomes(folder: Path, group: str, baseline: Path | str = "") -> tuple[Path, dict[str, str]]:
    """The outcome of each of Keras's tests, and the file that has them.

    Compiled programs are kept where legato keeps them, so that all these runs share them.

    Args:
        folder: for files.
        group: of tests.
        baseline: the file of the first run, of which those that did not pass are run with Keras's
            classes. Default: all are run, with legato's.
    """
    found = folder / f"{'keras' if baseline else 'legato'}.json"
    environment = dict(os.environ) | {"KERAS_BACKEND": "jax"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Keras's tests need none; some load slowly
    environment["JAX_NUM_CPU_DEVICES"] = "1"  # as Keras runs them
    environment["LEGATO_KERAS_OWN_OUTCOMES"] = str(found)
    environment["LEGATO_KERAS_OWN_BASELINE"] = str(baseline)
    command = ["-q", "-p", "plugin", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", str(TESTED), "--tb=short"]
    command += ["--continue-on-collection-errors"]  # some need a package that is not installed
    command += [str(TESTED / name) for name in GROUPS[group]]
    done = ForkedPython(RUN_PYTEST, [folder, HERE / "keras_own", *command], environment=environment)
    output, errors = done.communicate()
    # 1: some of the tests failed; 5: none is left to be run
    assert done.returncode in (0, 1, 5 if baseline else 0), output + errors
    print(output)  # shown by pytest if what follows fails
    return found, json.loads(found.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_kerass_own_tests_pass_with_legatos_classes(group, tmp_path):
    found, with_legato = outcomes(tmp_path, group)
    _, with_keras = outcomes(tmp_path, group, baseline=found)
    assert len(with_legato) >= FEWEST_TESTS[group]
    not_passed = {name for name, outcome in with_legato.items() if outcome != "passed"}
    assert not_passed == set(with_keras)
    different = {name for name in not_passed if with_legato[name] != with_keras[name]}
    assert {with_legato[name] for name in different} <= {"failed"}
    patterns = [f"*::{each}" if "::" not in each else f"*/{each}" for each in EXPECTED[group]]
    explained = {name for name in different for each in patterns if fnmatch(name, each)}
    assert different - explained == set(), "a bug here"
    for each in patterns:  # a pattern whose tests Keras fails too, for want of a package, may idle
        matched = {name for name in with_legato if fnmatch(name, each)}
        assert matched <= not_passed or matched & different, f"{each}: there now: drop the reason"
