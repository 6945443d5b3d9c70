// LSTM, GRU and SimpleRNN over time in float32, forward and backward, for one instruction set.
//
// The file is compiled once for each instruction set: LEGATO_KERNEL is the name of the function
// that returns the kernel, LEGATO_VECTOR the floats in a vector, and LEGATO_TILE_ROWS and
// LEGATO_TILE_VECTORS the tile of a product that is kept in registers. What it includes is in an
// unnamed namespace and uses no C++ library: code of one instruction set must not be where another
// finds it.
//
// Rows are independent of each other forward and backward, so a call takes some rows through all
// time steps; with few rows, a team of threads shares each step: every thread has its slices of the
// units. The gates' inputs z = b + x W are computed for some steps at once, then z += h U step by
// step. Gates lie side by side in "blocks" of `padded` columns: units rounded up to whole vectors. z
// is scratch memory; with derivatives, the gates' values are kept in the residual `gates`, where the
// backward pass replaces them by the derivatives dz with respect to the gates' inputs. What a residual
// holds in each block:
//
//   lstm               i, f, g, o, c (after masking)              gates i f g o as Keras orders them
//   gru                h U_h + its bias, z, r, candidate (backward: its derivative times r, dz, dr,
//                      and its derivative)
//   gru_reset_before   z, r, candidate, r * h (what U_h is multiplied with)
//   simple_rnn         the new state
//
// Weight gradients are products over all rows and steps, summed in one fixed order: the numbers do
// not depend on how the work is divided.
#include "backward.h"
#include "dense.h"
#include "forward.h"
#include "gradients.h"

extern "C" __attribute__((visibility("hidden"))) const legato::Kernel *LEGATO_KERNEL() {
  static const legato::Kernel kernel = {LEGATO_NAME,
                                        V,
                                        forward_weights_size,
                                        pack_forward_weights,
                                        forward_scratch_size,
                                        forward,
                                        backward_weights_size,
                                        pack_backward_weights,
                                        backward_scratch_size,
                                        backward,
                                        runs,
                                        weight_gradients_scratch_size,
                                        weight_gradients,
                                        dense_weights_size,
                                        pack_dense_weights,
                                        dense_scratch_size,
                                        dense};
  return &kernel;
}
