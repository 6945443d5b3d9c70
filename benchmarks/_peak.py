"""The processor's greatest rate of float32 operations, measured beside a benchmark."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from _bench import HERE, core_count

FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
SIZE = 2048  # rows and columns of the product that is measured where there is no compiler


class Peak:
    """Measures GFLOP/s on all cores; `rounds` are all rates, `gflops` is the greatest.

    Fused multiply-adds on registers in C (`rivals/peak.c`), per second of processor time; without a
    compiler named `cc`, NumPy's product of large matrices, per second.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="legato-benchmark-")
        self._program = Path(self._folder.name, "peak")
        self.rounds: list[float] = []
        self.method = "the product of two large matrices in NumPy"
        if shutil.which("cc"):
            source = str(HERE / "rivals" / "peak.c")
            subprocess.run(["cc", *FLAGS, source, "-o", str(self._program)], check=True)
            self.method = "multiply-adds on registers in C, on all cores"
        self.measure()

    @property
    def gflops(self) -> float:
        """The greatest rate so far."""
        return max(self.rounds)

    def measure(self) -> None:
        """Measure once more."""
        self.rounds.append(self._in_c() if self._program.exists() else self._in_numpy())

    def facts(self) -> dict[str, float | str]:
        """The rate and how it was measured."""
        return {"gflops": self.gflops, "method": self.method}

    def _in_c(self) -> float:
        command = [str(self._program), str(core_count())]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    def _in_numpy(self) -> float:
        matrix, seconds = np.ones((SIZE, SIZE), "float32"), []
        for _ in range(5):
            began = time.perf_counter()
            np.matmul(matrix, matrix)
            seconds.append(time.perf_counter() - began)
        return 2 * SIZE**3 / min(seconds) / 1e9
