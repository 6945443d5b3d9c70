"""Train one stateful model on several processes, each of which has its own rows.

The folder that is given must be one that all processes see; from it an interrupted training
continues. On several machines: see slurm.sh and kubernetes.yaml beside this file. On one:

    legato run --processes 2 train.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

import legato
from legato import layers

ROWS = 16  # of every batch, shared out over the processes


def rows_of_process(index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two days of some machines, cut into hours: of each hour one sample a machine.

    Yours would read the files of these machines.
    """
    mine = np.arange(ROWS).reshape(count, -1)[index]
    minutes = np.arange(48 * 60 + 1)
    load = np.stack([np.sin(minutes / (20 + machine)) for machine in mine])
    hours = load[:, :-1].reshape(len(mine), 48, 60, 1).swapaxes(0, 1)
    after = load[:, 60::60].T
    return hours.reshape(-1, 60, 1).astype("float32"), after.reshape(-1, 1).astype("float32")


def main(folder: Path) -> None:
    """Train, and let process 0 save the model."""
    legato.join_processes(seed=7)

    import jax  # only now: it has the devices of all processes
    import keras

    X, y = rows_of_process(jax.process_index(), jax.process_count())
    model = legato.Sequential(
        [layers.Input((60, 1)), layers.LSTM(32, stateful=True), layers.Dense(1)]
    )
    model.compile(loss="mse", optimizer="adam")
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    rows = ROWS // jax.process_count()
    model.fit(X, y, batch_size=rows, epochs=5, callbacks=[backup], verbose=2)
    if jax.process_index() == 0:
        model.save(folder / "model.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
