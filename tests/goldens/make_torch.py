"""Makes `torch.npz` beside it: outputs of `torch.nn.LSTM`, `GRU` and `RNN`.

Run by hand where torch is installed: `python tests/goldens/make_torch.py`. For {LSTM, GRU, RNN with
tanh, RNN with relu} x {1, 3 layers} x {one direction, both} x {with biases, without} the file holds
the state dict, under names that begin with the case as in a module that has many inside, and
`output:<case>`, `h_n:<case>` and, of an LSTM, `c_n:<case>`: of `X` from a state of zeros. Seeds are
fixed and everything is on the CPU, so the same version makes the same file; `made_by` names it.
"""

import itertools
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
ROWS, STEPS, FEATURES, UNITS = 2, 5, 3, 4
KINDS = {
    "LSTM": (torch.nn.LSTM, {}),
    "GRU": (torch.nn.GRU, {}),
    "tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
SEED = 7


def make_case(kind, layers, directions, bias):
    """Return one module with the weights torch draws for it, biases too."""
    make, options = KINDS[kind]
    return make(
        FEATURES,
        UNITS,
        num_layers=layers,
        bidirectional=directions == 2,
        bias=bias,
        batch_first=True,
        **options,
    )


def main():
    """Write every case into one file."""
    torch.manual_seed(SEED)
    X = torch.randn(ROWS, STEPS, FEATURES)
    found = {"made_by": np.array(f"torch {torch.__version__}"), "X": X.numpy()}
    for kind, layers, directions, bias in itertools.product(KINDS, (1, 3), (1, 2), (True, False)):
        case = f"{kind}-{layers}-{directions}-{'bias' if bias else 'plain'}"
        module = make_case(kind, layers, directions, bias)
        with torch.no_grad():
            output, state = module(X)
        h_n, *c_n = state if kind == "LSTM" else (state,)
        found |= {f"{case}.{name}": each.numpy() for name, each in module.state_dict().items()}
        found |= {f"output:{case}": output.numpy(), f"h_n:{case}": h_n.numpy()}
        found |= {f"c_n:{case}": each.numpy() for each in c_n}
    np.savez_compressed(HERE / "torch.npz", **found)


if __name__ == "__main__":
    main()
