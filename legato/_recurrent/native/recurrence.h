// What the kernels of the instruction sets (recurrence.cpp) and the calls from XLA (calls.cpp) share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace legato {

enum class Cell : std::int64_t { lstm = 0, gru = 1, gru_reset_before = 2, simple_rnn = 3 };

// One call: sizes, inputs and outputs, all float32, as native_kernel.py documents them.
// `mask` and `scale` are null without; `gates` is null if no derivatives are wanted.
struct Problem {
  Cell cell;
  bool shared;                  // whether units are packed in slices, for a team that shares each step
  std::int64_t rows, steps, features, units;
  const float *x;               // (rows, steps, features)
  const float *h0, *c0;         // (rows, units)
  const float *W, *U, *b;       // (features, gates * units), (units, gates * units), Keras's bias
  const std::uint8_t *mask;     // (rows, steps)
  const float *scale;           // (gates, rows, units)
  float *hidden;                // (rows, steps, units), null if not wanted
  float *h_final, *c_final;     // (rows, units)
  float *gates;                 // (steps, rows, blocks * padded units); the backward pass turns it
                                // into derivatives with respect to the gates' inputs, in place
  const float *d_hidden;        // (rows, steps, units), null if zero
  const float *d_h, *d_c;       // (rows, units), of the final states
  float *dx;                    // (rows, steps, features), null if not wanted
  float *dh0, *dc0, *dW, *dU, *db;
};

// Columns of the weight gradients that are computed together: vectors begin..end of run `run`.
struct Columns {
  int run;
  std::int64_t begin, end;
};

// Threads that share the products of few rows (team.h).
struct Team {
  // Calls part(context, 0), …, part(context, count - 1), each on one of the threads, which go through
  // the same ranges of parts whenever the count is the same, forwards or backwards. The context is
  // copied, `size` bytes of at most kContext.
  void (*share)(Team *, std::int64_t count, bool backwards,
                void (*part)(const void *, std::int64_t), const void *context, std::size_t size);
};

constexpr std::size_t kContext = 64, kLine = 64;  // kLine: bytes of a cache line

constexpr std::int64_t kMostRows = 32;  // rows that one call of `forward` takes at most

// The kernel of one instruction set. Scratch memory is the caller's: 64-byte aligned, its size in
// floats given by the function before. Any division into rows or columns gives the same bits, and so
// does any team, which may be null.
struct Kernel {
  const char *name;
  std::int64_t vector;  // floats in a vector

  std::size_t (*forward_weights_size)(const Problem &);
  void (*pack_forward_weights)(const Problem &, float *weights, Team *);
  std::size_t (*forward_scratch_size)(const Problem &, std::int64_t rows);
  void (*forward)(const Problem &, const float *weights, std::int64_t begin, std::int64_t end,
                  float *scratch, Team *);

  std::size_t (*backward_weights_size)(const Problem &);
  void (*pack_backward_weights)(const Problem &, float *weights, Team *);
  std::size_t (*backward_scratch_size)(const Problem &, std::int64_t rows);
  void (*backward)(const Problem &, const float *weights, std::int64_t begin, std::int64_t end,
                   float *scratch, Team *);

  int (*runs)(const Problem &, std::int64_t *vectors);  // how many, and the vectors of each (≤ 8)
  std::size_t (*weight_gradients_scratch_size)(const Problem &, const Columns &);
  void (*weight_gradients)(const Problem &, const Columns &, float *scratch);

  // Dense layers, kMostRows rows at most (dense.h).
  std::size_t (*dense_weights_size)(std::int64_t inputs, std::int64_t units);
  void (*pack_dense_weights)(std::int64_t inputs, std::int64_t units, const float *W,
                             const float *b, float *weights);
  std::size_t (*dense_scratch_size)(std::int64_t rows, std::int64_t units);
  void (*dense)(std::int64_t rows, std::int64_t inputs, std::int64_t units, const float *weights,
                std::int64_t activation, const float *x, float *out, float *scratch);
};

}  // namespace legato
