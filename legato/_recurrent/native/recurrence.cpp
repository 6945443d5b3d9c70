// LSTM, GRU and SimpleRNN over time in float32, forward and backward, for one instruction set.
//
// The file is compiled once for each instruction set: LEGATO_KERNEL is the name of the function
// that returns the kernel, LEGATO_VECTOR the floats in a vector, and LEGATO_TILE_ROWS and
// LEGATO_TILE_VECTORS the tile of a product that is kept in registers. It includes nothing that
// could put code of one instruction set where another finds it (no C++ library).
//
// Rows are independent of each other forward and backward, so a call takes some rows through all
// time steps. The gates' inputs z = b + x W are computed for some steps at once, then z += h U step
// by step. Gates lie side by side in "blocks" of `padded` columns: units rounded up to whole
// vectors. Without derivatives, z is scratch memory; with them it is the residual `gates`, where the
// gates' values replace their inputs, and in the backward pass the derivatives dz with respect to
// the inputs replace the values. What a residual holds in each block:
//
//   lstm               i, f, g, o, c (after masking), tanh(c)     gates i f g o as Keras orders them
//   gru                h U_h + its bias, z, r, candidate; backward: its derivative times r, dz, dr, dh
//   gru_reset_before   z, r, candidate, r * h (what U_h is multiplied with)
//   simple_rnn         the new state
//
// Weight gradients are products over all rows and steps, summed in one fixed order: the numbers do
// not depend on how the work is divided.
#include "recurrence.h"

#include <stdlib.h>
#include <string.h>

namespace {

using legato::Cell;
using legato::Columns;
using legato::Problem;
using Size = std::int64_t;

constexpr int V = LEGATO_VECTOR;             // floats in a vector
constexpr int TR = LEGATO_TILE_ROWS;         // rows of a tile
constexpr int TV = LEGATO_TILE_VECTORS;      // vectors in a row of a tile
constexpr Size kSteps = 8;                   // steps whose input products are computed together
constexpr Size kDepth = 128;                 // rows and steps that are summed at once in gradients
constexpr Size kPad = 16;                    // keeps rows of a power of two apart in the cache

typedef float Vector __attribute__((vector_size(V * 4)));
typedef float Loose __attribute__((vector_size(V * 4), aligned(4), may_alias));
typedef std::int32_t Bits __attribute__((vector_size(V * 4)));

inline Vector load(const float *from) { return *reinterpret_cast<const Loose *>(from); }
inline void store(float *to, Vector value) { *reinterpret_cast<Loose *>(to) = value; }
inline Vector all(float value) { return value - Vector{}; }

inline Vector load(const float *from, Size count) {
  if (count >= V) return load(from);
  Vector value = {};
  memcpy(&value, from, count * sizeof(float));
  return value;
}

inline Vector keep_first(Vector value, Size count) {  // zero from lane `count` on
  if (count >= V) return value;
  Vector kept = {};
  memcpy(&kept, &value, count * sizeof(float));
  return kept;
}

// Activations.

inline Vector choose(Bits where, Vector yes, Vector no) {
  return (Vector)(((Bits)yes & where) | ((Bits)no & ~where));
}

// exp(-|x|) = scale + scale * rest, with rest = exp(r) - 1 of a small r: minimax-like polynomial.
struct Exponential {
  Vector scale, rest;
};

inline Exponential exp_of_minus(Vector size) {
  const Vector most = all(88.1f);  // where 2**n becomes zero
  size = choose(size > most, most, size);
  const float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds to an integer
  const Vector shifted = all(magic) - size * 1.44269504f;
  const Vector n = shifted - magic;
  const Vector r = (-size - n * 0.693145752f) - n * 1.42860677e-6f;
  Vector poly = all(0.0013934544986113906f);
  poly = poly * r + 0.008363776840269566f;
  poly = poly * r + 0.04166645556688309f;
  poly = poly * r + 0.16666573286056519f;
  poly = poly * r + 0.5f;
  poly = poly * r + 1.0f;
  const Bits exponent = ((Bits)shifted + 127) << 23;  // the low bits of `shifted` hold n
  return {(Vector)exponent, poly * r};
}

inline Vector magnitude(Vector x) { return (Vector)((Bits)x & 0x7fffffff); }

inline Vector sigmoid(Vector x) {
  const Exponential e = exp_of_minus(magnitude(x));
  const Vector tail = e.scale + e.scale * e.rest;
  return choose(x < 0.0f, tail, all(1.0f)) / (1.0f + tail);
}

inline Vector tanh_of(Vector x) {
  const Exponential e = exp_of_minus(magnitude(x) * 2.0f);
  const Vector less = (e.scale - 1.0f) + e.scale * e.rest;  // exp(-2|x|) - 1
  const Vector value = -less / (2.0f + less);
  return (Vector)((Bits)value | ((Bits)x & (std::int32_t)0x80000000));
}

// Products. The right factor is packed into panels of 1..TV vectors: a panel holds its columns row
// by row. A tile of TR rows and a panel's columns is kept in registers over the whole inner axis.

inline int panel_count(Size vectors) { return static_cast<int>((vectors + TV - 1) / TV); }

struct Panel {
  Size first;   // vector it begins with
  int vectors;  // as even as they can be
};

inline Panel panel(Size vectors, int number) {
  const int panels = panel_count(vectors);
  const Size size = vectors / panels, longer = vectors % panels;
  const Size first = number * size + (number < longer ? number : longer);
  return {first, static_cast<int>(size + (number < longer))};
}

// c[r] = from[r] + a[r] B for R rows and the columns of P panels of N vectors.
template <int R, int N, int P>
inline __attribute__((always_inline)) void tile(Size inner, const float *const *a, const float *B,
                                                const float *const *from, float *const *c,
                                                Size column) {
  Vector sum[R][N * P];
  const float *left[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    left[r] = a[r];
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) sum[r][v] = load(from[r] + column + v * V);
  }
  const Size other = inner * N * V;  // from one panel to the next
  for (Size k = 0; k < inner; ++k) {
    Vector right[N * P];
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) right[v] = load(B + (v / N) * other + (v % N) * V);
    B += N * V;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float value = left[r][k];
#pragma GCC unroll 16
      for (int v = 0; v < N * P; ++v) sum[r][v] += value * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) store(c[r] + column + v * V, sum[r][v]);
}

typedef void Tile(Size, const float *const *, const float *, const float *const *, float *const *,
                  Size);

template <int R, int N, int P>
__attribute__((noinline)) void tile_call(Size inner, const float *const *a, const float *B,
                                         const float *const *from, float *const *c, Size column) {
  tile<R, N, P>(inner, a, B, from, c, column);
}

template <int R>
inline Tile *tile_of(int vectors) {
  if constexpr (TV >= 4)
    if (vectors == 4) return tile_call<R, 4, 1>;
  if constexpr (TV >= 3)
    if (vectors == 3) return tile_call<R, 3, 1>;
  return vectors == 2 ? tile_call<R, 2, 1> : tile_call<R, 1, 1>;
}

inline Tile *three_panels_of(int vectors) {
  if constexpr (TV >= 4)
    if (vectors == 4) return tile_call<1, 4, 3>;
  if constexpr (TV >= 3)
    if (vectors == 3) return tile_call<1, 3, 3>;
  return vectors == 2 ? tile_call<1, 2, 3> : tile_call<1, 1, 3>;
}

// Rows that a tile lacks repeat the last one: they compute and store the same.
inline void some_rows(Size rows, int vectors, Size inner, const float *const *a, const float *B,
                      const float *const *from, float *const *c, Size column) {
  const int needed = rows == 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : TR;
  const float *lefts[TR], *froms[TR];
  float *tos[TR];
  for (int r = 0; r < needed; ++r) {
    const Size at = r < rows ? r : rows - 1;
    lefts[r] = a[at], froms[r] = from[at], tos[r] = c[at];
  }
  Tile *call = needed == 1   ? tile_of<1>(vectors)
               : needed == 2 ? tile_of<2>(vectors)
               : needed == 4 ? tile_of<4>(vectors)
                             : tile_of<TR>(vectors);
  call(inner, lefts, B, froms, tos, column);
}

// c[r] = from[r] + a[r] B, r < rows; B packed, (inner, vectors * V).
void multiply(Size rows, Size inner, Size vectors, const float *const *a, const float *B,
              const float *const *from, float *const *c) {
  const int panels = panel_count(vectors);
  for (int p = 0; p < panels;) {
    const Panel at = panel(vectors, p);
    const float *right = B + at.first * V * inner;
    if (rows == 1 && p + 3 <= panels && panel(vectors, p + 2).vectors == at.vectors) {
      three_panels_of(at.vectors)(inner, a, right, from, c, at.first * V);
      p += 3;
      continue;
    }
    Size r = 0;
    Tile *whole = tile_of<TR>(at.vectors);
    for (; r + TR <= rows; r += TR) whole(inner, a + r, right, from + r, c + r, at.first * V);
    if (r < rows) some_rows(rows - r, at.vectors, inner, a + r, right, from + r, c + r, at.first * V);
    ++p;
  }
}

// sum (TR, N vectors) += a^T B over `depth` rows of a (depth, TR) and B (depth, N vectors).
template <int N>
__attribute__((noinline)) void outer_tile(Size depth, const float *a, const float *B, float *sum) {
  Vector part[TR][N];
#pragma GCC unroll 16
  for (int r = 0; r < TR; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) part[r][v] = Vector{};
  for (Size k = 0; k < depth; ++k) {
    Vector right[N];
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) right[v] = load(B + v * V);
    B += N * V;
#pragma GCC unroll 16
    for (int r = 0; r < TR; ++r) {
      const float value = a[r];
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) part[r][v] += value * right[v];
    }
    a += TR;
  }
#pragma GCC unroll 16
  for (int r = 0; r < TR; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) {
      float *to = sum + (r * N + v) * V;
      store(to, load(to) + part[r][v]);
    }
}

void outer(int vectors, Size depth, const float *a, const float *B, float *sum) {
  if constexpr (TV >= 4)
    if (vectors == 4) return outer_tile<4>(depth, a, B, sum);
  if constexpr (TV >= 3)
    if (vectors == 3) return outer_tile<3>(depth, a, B, sum);
  return vectors == 2 ? outer_tile<2>(depth, a, B, sum) : outer_tile<1>(depth, a, B, sum);
}

// How the blocks of a cell's gates lie.

// Blocks that are multiplied with one and the same left factor.
struct Run {
  int first, count;     // blocks
  bool inputs, states;  // of what weights: W, U
  bool reset;           // whether the left factor of U is r * h
};

struct Layout {
  int gates;             // of the cell
  int blocks;            // that hold dz, one for each column of W or U
  int kept;              // of the residual
  int w_first, w_count;  // blocks of W's columns, in the order of Keras
  int u_first, u_count;  // blocks of U's columns
  int gate[4];           // gate of each block
  int runs;
  Run run[4];
};

Layout layout(const Problem &p) {
  Layout l = {};
  switch (p.cell) {
    case Cell::lstm:
      l = {4, 4, 6, 0, 4, 0, 4, {0, 1, 2, 3}, 1, {{0, 4, true, true, false}}};
      break;
    case Cell::gru:
      l = {3,
           4,
           4,
           1,
           3,
           0,
           3,
           {2, 0, 1, 2},
           3,
           {{0, 1, false, true, false}, {1, 2, true, true, false}, {3, 1, true, false, false}}};
      break;
    case Cell::gru_reset_before:
      l = {3, 3, 4, 0, 3, 0, 3, {0, 1, 2}, 2, {{0, 2, true, true, false}, {2, 1, true, true, true}}};
      break;
    case Cell::simple_rnn:
      l = {1, 1, 1, 0, 1, 0, 1, {0}, 1, {{0, 1, true, true, false}}};
      break;
  }
  if (p.scale == nullptr) return l;
  Layout split = l;  // every gate has a left factor of its own
  split.runs = 0;
  for (int i = 0; i < l.runs; ++i)
    for (int j = 0; j < l.run[i].count; ++j) {
      Run one = l.run[i];
      one.first += j;
      one.count = 1;
      split.run[split.runs++] = one;
    }
  return split;
}

inline Size round_up(Size size, Size to) { return (size + to - 1) / to * to; }
inline Size padded(Size size) { return round_up(size, V); }

// Products with U: as runs, but GRU's first two of the forward pass are one product.
struct Product {
  int first, count;
  bool reset;
};

int products(const Problem &p, const Layout &l, Product *to) {
  if (p.cell == Cell::gru && p.scale == nullptr) {
    to[0] = {0, 3, false};
    return 1;
  }
  int count = 0;
  for (int i = 0; i < l.runs; ++i)
    if (l.run[i].states) to[count++] = {l.run[i].first, l.run[i].count, l.run[i].reset};
  return count;
}

// Sizes that all functions need, computed once.
struct Sizes {
  Layout l;
  Size P;        // padded units
  Size UV, FV;   // vectors of units and features
  Size columns;  // of W and U
  Size stride;   // floats of a row of gates
  int count;
  Product product[4];

  explicit Sizes(const Problem &p) : l(layout(p)) {
    P = padded(p.units);
    UV = P / V;
    FV = padded(p.features) / V;
    columns = l.gates * p.units;
    stride = (p.gates != nullptr ? l.kept : l.blocks) * P;
    count = products(p, l, product);
  }
};

// Packing.

// Columns of `gates` gates side by side, from (inner, columns) to panels.
void pack(const float *from, Size inner, Size columns, Size units, const int *gates, int count,
          float *to) {
  const Size UV = padded(units) / V, vectors = count * UV;
  for (int n = 0; n < panel_count(vectors); ++n) {
    const Panel at = panel(vectors, n);
    for (Size k = 0; k < inner; ++k)
      for (int v = 0; v < at.vectors; ++v, to += V) {
        const Size block = (at.first + v) / UV, unit = (at.first + v) % UV * V;
        store(to, load(from + k * columns + gates[block] * units + unit, units - unit));
      }
  }
}

// The transpose of the same columns: from (rows, columns) to panels of (count * padded units, rows).
void pack_transposed(const float *from, Size rows, Size columns, Size units, const int *gates,
                     int count, float *to) {
  const Size P = padded(units), inner = count * P, vectors = padded(rows) / V;
  for (int n = 0; n < panel_count(vectors); ++n) {
    const Panel at = panel(vectors, n);
    const Size width = at.vectors * V;
    memset(to, 0, inner * width * sizeof(float));
    for (int block = 0; block < count; ++block)
      for (Size start = 0; start < units; start += 64) {
        const Size end = start + 64 < units ? start + 64 : units;
        for (Size j = 0; j < width && at.first * V + j < rows; ++j) {
          const float *row = from + (at.first * V + j) * columns + gates[block] * units;
          for (Size unit = start; unit < end; ++unit) to[(block * P + unit) * width + j] = row[unit];
        }
      }
    to += inner * width;
  }
}

std::size_t forward_weights_size(const Problem &p) {
  const Sizes s(p);
  return (p.features * s.l.w_count + p.units * s.l.u_count + s.l.blocks) * s.P;
}

// W, then U product by product, then the bias of every block.
void pack_forward_weights(const Problem &p, float *to) {
  const Sizes s(p);
  pack(p.W, p.features, s.columns, p.units, s.l.gate + s.l.w_first, s.l.w_count, to);
  to += p.features * s.l.w_count * s.P;
  for (int i = 0; i < s.count; ++i) {
    const Product &product = s.product[i];
    pack(p.U, p.units, s.columns, p.units, s.l.gate + product.first, product.count, to);
    to += p.units * product.count * s.P;
  }
  memset(to, 0, s.l.blocks * s.P * sizeof(float));
  for (int block = 0; block < s.l.blocks; ++block)
    for (Size unit = 0; unit < p.units; ++unit) {
      const Size column = s.l.gate[block] * p.units + unit;
      float bias = p.b[column];
      if (p.cell == Cell::gru) {  // the biases of input and state
        if (block == 0) bias = p.b[s.columns + column];
        if (block == 1 || block == 2) bias += p.b[s.columns + column];
      }
      to[block * s.P + unit] = bias;
    }
}

std::size_t backward_weights_size(const Problem &p) {
  const Sizes s(p);
  return (s.l.u_count * s.UV + s.l.w_count * s.FV) * s.P * V;
}

// U transposed, product by product, then W transposed.
void pack_backward_weights(const Problem &p, float *to) {
  const Sizes s(p);
  for (int i = 0; i < s.count; ++i) {
    const Product &product = s.product[i];
    pack_transposed(p.U, p.units, s.columns, p.units, s.l.gate + product.first, product.count, to);
    to += product.count * s.P * s.UV * V;
  }
  if (p.dx != nullptr)
    pack_transposed(p.W, p.features, s.columns, p.units, s.l.gate + s.l.w_first, s.l.w_count, to);
}

// Forward.

std::size_t forward_scratch_size(const Problem &p, Size rows) {
  const Sizes s(p);
  const Size line = s.P + kPad;
  Size size = rows * line * 6;  // h, c, and h times the scale of each gate
  if (p.gates == nullptr) size += kSteps * rows * s.stride;
  return size;
}

inline bool skipped(const Problem &p, Size row, Size step) {
  return p.mask != nullptr && p.mask[row * p.steps + step] == 0;
}

// A row of gates → the new state h and c, and the values kept in `z`.
void lstm_row(float *z, float *h, float *c, Size P, bool skip, bool keep) {
  for (Size u = 0; u < P; u += V) {
    const Vector i = sigmoid(load(z + u)), f = sigmoid(load(z + P + u));
    const Vector g = tanh_of(load(z + 2 * P + u)), o = sigmoid(load(z + 3 * P + u));
    const Vector before = load(c + u), next = f * before + i * g, bent = tanh_of(next);
    if (!skip) {
      store(c + u, next);
      store(h + u, o * bent);
    }
    if (keep) {
      store(z + u, i), store(z + P + u, f), store(z + 2 * P + u, g), store(z + 3 * P + u, o);
      store(z + 4 * P + u, skip ? before : next);
      store(z + 5 * P + u, bent);
    }
  }
}

void gru_row(float *z, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = sigmoid(load(z + P + u)), reset = sigmoid(load(z + 2 * P + u));
    const Vector candidate = tanh_of(load(z + 3 * P + u) + reset * load(z + u));
    const Vector before = load(h + u);
    if (!skip) store(h + u, candidate + update * (before - candidate));
    store(z + P + u, update), store(z + 2 * P + u, reset), store(z + 3 * P + u, candidate);
  }
}

// The gates of a GRU that come before its second product: `left` becomes r * left.
void reset_row(float *z, float *left, Size P) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = sigmoid(load(z + u)), reset = sigmoid(load(z + P + u));
    store(z + u, update), store(z + P + u, reset);
    store(left + u, reset * load(left + u));
  }
}

void reset_before_row(float *z, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = load(z + u), candidate = tanh_of(load(z + 2 * P + u));
    const Vector before = load(h + u);
    if (!skip) store(h + u, candidate + update * (before - candidate));
    store(z + 2 * P + u, candidate);
  }
}

void simple_row(float *z, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector next = tanh_of(load(z + u));
    if (!skip) store(h + u, next);
    store(z + u, next);
  }
}

inline void copy_row(float *to, const float *from, Size count) {
  memcpy(to, from, count * sizeof(float));
}

struct ForwardRun {
  const Problem &p;
  const Sizes s;
  Size begin, rows, line;
  float *h, *c, *left[4], *z;  // (rows, line) each; z (kSteps, rows, stride)
  const float *W, *U, *bias;

  ForwardRun(const Problem &problem, const float *weights, Size first, Size end, float *scratch)
      : p(problem), s(problem), begin(first), rows(end - first), line(s.P + kPad) {
    h = scratch, c = h + rows * line;
    for (int i = 0; i < 4; ++i) left[i] = c + (i + 1) * rows * line;
    z = c + 5 * rows * line;
    memset(scratch, 0, 6 * rows * line * sizeof(float));
    W = weights;
    U = W + p.features * s.l.w_count * s.P;
    bias = U + p.units * s.l.u_count * s.P;
    for (Size r = 0; r < rows; ++r) {
      copy_row(h + r * line, p.h0 + (begin + r) * p.units, p.units);
      if (p.cell == Cell::lstm) copy_row(c + r * line, p.c0 + (begin + r) * p.units, p.units);
    }
  }

  float *gates(Size r, Size t) const {
    if (p.gates != nullptr) return p.gates + (t * p.rows + begin + r) * s.stride;
    return z + (t % kSteps * rows + r) * s.stride;
  }

  void project_inputs(Size start, Size end) const {
    const float *a[legato::kMostRows * kSteps], *from[legato::kMostRows * kSteps];
    float *to[legato::kMostRows * kSteps];
    Size n = 0;
    for (Size r = 0; r < rows; ++r)
      for (Size t = start; t < end; ++t, ++n) {
        a[n] = p.x + ((begin + r) * p.steps + t) * p.features;
        from[n] = bias + s.l.w_first * s.P;
        to[n] = gates(r, t) + s.l.w_first * s.P;
        if (p.cell == Cell::gru) copy_row(gates(r, t), bias, s.P);
      }
    multiply(n, p.features, s.l.w_count * s.UV, a, W, from, to);
  }

  // The left factor of a product: h, times the gate's scale, times r.
  const float *factor(int i, Size r, Size t) const {
    const Product &product = s.product[i];
    if (p.scale == nullptr && !product.reset) return h + r * line;
    float *to = left[i] + r * line;
    const float *state = h + r * line;
    const Size gate = s.l.gate[product.first];
    const float *scale = p.scale + (gate * p.rows + begin + r) * p.units;
    for (Size u = 0; u < p.units; ++u) to[u] = p.scale != nullptr ? state[u] * scale[u] : state[u];
    if (product.reset) {
      reset_row(gates(r, t), to, s.P);
      if (p.gates != nullptr) copy_row(gates(r, t) + 3 * s.P, to, s.P);
    }
    return to;
  }

  void project_states(Size t) const {
    const float *right = U, *a[legato::kMostRows];
    float *to[legato::kMostRows];
    for (int i = 0; i < s.count; ++i) {
      for (Size r = 0; r < rows; ++r) {
        a[r] = factor(i, r, t);
        to[r] = gates(r, t) + s.product[i].first * s.P;
      }
      const Size vectors = s.product[i].count * s.UV;
      multiply(rows, p.units, vectors, a, right, to, to);
      right += p.units * vectors * V;
    }
  }

  void activate(Size r, Size t) const {
    const bool skip = skipped(p, begin + r, t);
    float *row = gates(r, t), *state = h + r * line;
    switch (p.cell) {
      case Cell::lstm:
        lstm_row(row, state, c + r * line, s.P, skip, p.gates != nullptr);
        break;
      case Cell::gru:
        gru_row(row, state, s.P, skip);
        break;
      case Cell::gru_reset_before:
        reset_before_row(row, state, s.P, skip);
        break;
      case Cell::simple_rnn:
        simple_row(row, state, s.P, skip);
        break;
    }
    copy_row(p.hidden + ((begin + r) * p.steps + t) * p.units, state, p.units);
  }

  void all_steps() const {
    for (Size start = 0; start < p.steps; start += kSteps) {
      const Size end = start + kSteps < p.steps ? start + kSteps : p.steps;
      project_inputs(start, end);
      for (Size t = start; t < end; ++t) {
        project_states(t);
        for (Size r = 0; r < rows; ++r) activate(r, t);
      }
    }
    if (p.cell != Cell::lstm) return;
    for (Size r = 0; r < rows; ++r)
      copy_row(p.c_final + (begin + r) * p.units, c + r * line, p.units);
  }
};

void forward(const Problem &p, const float *weights, Size begin, Size end, float *scratch) {
  ForwardRun(p, weights, begin, end, scratch).all_steps();
}

// Backward: dz for every step, dx, dh0 and dc0.

std::size_t backward_scratch_size(const Problem &p, Size rows) {
  const Sizes s(p);
  return rows * (s.P + kPad) * 3 + kSteps * rows * s.FV * V;
}

inline Vector sigmoid_slope(Vector value) { return value * (1.0f - value); }
inline Vector tanh_slope(Vector value) { return 1.0f - value * value; }

// In all of these dh comes with the derivative with respect to the step's new state and leaves with
// the part of that with respect to the old state that does not go through U.
void lstm_row_back(float *z, float *dh, float *dc, const float *before, Size units, Size P) {
  for (Size u = 0; u < P; u += V) {
    const Size n = units - u;
    const Vector i = load(z + u), f = load(z + P + u), g = load(z + 2 * P + u);
    const Vector o = load(z + 3 * P + u), bent = load(z + 5 * P + u);
    const Vector d = load(dh + u), d_c = load(dc + u) + d * o * tanh_slope(bent);
    store(z + u, keep_first(d_c * g * sigmoid_slope(i), n));
    store(z + P + u, keep_first(d_c * load(before + u, n) * sigmoid_slope(f), n));
    store(z + 2 * P + u, keep_first(d_c * i * tanh_slope(g), n));
    store(z + 3 * P + u, keep_first(d * bent * sigmoid_slope(o), n));
    store(dc + u, d_c * f);
    store(dh + u, Vector{});
  }
}

void gru_row_back(float *z, float *dh, const float *before, Size units, Size P) {
  for (Size u = 0; u < P; u += V) {
    const Size n = units - u;
    const Vector inner = load(z + u), update = load(z + P + u), reset = load(z + 2 * P + u);
    const Vector candidate = load(z + 3 * P + u), d = load(dh + u);
    const Vector d_candidate = d * (1.0f - update) * tanh_slope(candidate);
    const Vector d_update = d * (load(before + u, n) - candidate) * sigmoid_slope(update);
    store(z + u, keep_first(d_candidate * reset, n));
    store(z + P + u, keep_first(d_update, n));
    store(z + 2 * P + u, keep_first(d_candidate * inner * sigmoid_slope(reset), n));
    store(z + 3 * P + u, keep_first(d_candidate, n));
    store(dh + u, d * update);
  }
}

void reset_before_row_back(float *z, float *dh, const float *before, Size units, Size P) {
  for (Size u = 0; u < P; u += V) {
    const Size n = units - u;
    const Vector update = load(z + u), candidate = load(z + 2 * P + u), d = load(dh + u);
    const Vector d_update = d * (load(before + u, n) - candidate) * sigmoid_slope(update);
    store(z + u, keep_first(d_update, n));
    store(z + 2 * P + u, keep_first(d * (1.0f - update) * tanh_slope(candidate), n));
    store(dh + u, d * update);
  }
}

void simple_row_back(float *z, float *dh, Size units, Size P) {
  for (Size u = 0; u < P; u += V) {
    store(z + u, keep_first(load(dh + u) * tanh_slope(load(z + u)), units - u));
    store(dh + u, Vector{});
  }
}

struct BackwardRun {
  const Problem &p;
  const Sizes s;
  Size begin, rows, line;
  float *dh, *dc, *part, *dx;  // (rows, line) each; dx (kSteps * rows, padded features)
  const float *UT, *WT;

  BackwardRun(const Problem &problem, const float *weights, Size first, Size end, float *scratch)
      : p(problem), s(problem), begin(first), rows(end - first), line(s.P + kPad) {
    dh = scratch, dc = dh + rows * line, part = dc + rows * line, dx = part + rows * line;
    memset(scratch, 0, 3 * rows * line * sizeof(float));
    UT = weights;
    WT = UT + s.l.u_count * s.P * s.UV * V;
    if (p.cell == Cell::lstm)
      for (Size r = 0; r < rows; ++r)
        copy_row(dc + r * line, p.d_c + (begin + r) * p.units, p.units);
  }

  float *gates(Size r, Size t) const { return p.gates + (t * p.rows + begin + r) * s.stride; }

  const float *hidden_before(Size r, Size t) const {
    if (t == 0) return p.h0 + (begin + r) * p.units;
    return p.hidden + ((begin + r) * p.steps + t - 1) * p.units;
  }

  void activate(Size r, Size t) const {
    float *z = gates(r, t), *d = dh + r * line;
    const float *given = p.d_hidden + ((begin + r) * p.steps + t) * p.units;
    for (Size u = 0; u < p.units; ++u) d[u] += given[u];
    if (skipped(p, begin + r, t)) {
      memset(z, 0, s.l.blocks * s.P * sizeof(float));
      return;
    }
    switch (p.cell) {
      case Cell::lstm: {
        const float *before =
            t == 0 ? p.c0 + (begin + r) * p.units : gates(r, t - 1) + 4 * s.P;
        return lstm_row_back(z, d, dc + r * line, before, p.units, s.P);
      }
      case Cell::gru:
        return gru_row_back(z, d, hidden_before(r, t), p.units, s.P);
      case Cell::gru_reset_before:
        return reset_before_row_back(z, d, hidden_before(r, t), p.units, s.P);
      case Cell::simple_rnn:
        return simple_row_back(z, d, p.units, s.P);
    }
  }

  // dh += the scale times dz U^T, through r as well where the product had r * h.
  void through(const Product &product, Size t) const {
    for (Size r = 0; r < rows; ++r) {
      const Size gate = s.l.gate[product.first];
      const float *scale = p.scale + (gate * p.rows + begin + r) * p.units;
      const float *before = hidden_before(r, t);
      float *d = dh + r * line, *z = gates(r, t);
      const float *more = part + r * line;
      const bool skip = skipped(p, begin + r, t);
      for (Size u = 0; u < p.units; ++u) {
        float value = p.scale != nullptr ? more[u] * scale[u] : more[u];
        if (product.reset && !skip) {
          const float reset = z[s.P + u];
          z[s.P + u] = value * before[u] * reset * (1.0f - reset);
          value *= reset;
        }
        d[u] += value;
      }
      if (product.reset && !skip)
        for (Size u = p.units; u < s.P; ++u) z[s.P + u] = 0.0f;
    }
  }

  void propagate_states(Size t) const {
    const float *a[legato::kMostRows], *from[legato::kMostRows];
    float *to[legato::kMostRows];
    const float *right = UT + s.l.u_count * s.P * s.UV * V;
    for (int i = s.count - 1; i >= 0; --i) {  // the reset gate's derivative needs the last first
      const Product &product = s.product[i];
      const bool plain = p.scale == nullptr && !product.reset;
      const Size inner = product.count * s.P;
      right -= inner * s.UV * V;
      if (!plain) memset(part, 0, rows * line * sizeof(float));
      for (Size r = 0; r < rows; ++r) {
        a[r] = gates(r, t) + product.first * s.P;
        to[r] = (plain ? dh : part) + r * line;
        from[r] = to[r];
      }
      multiply(rows, inner, s.UV, a, right, from, to);
      if (!plain) through(product, t);
    }
  }

  void propagate_inputs(Size start, Size end) const {
    const float *a[legato::kMostRows * kSteps], *from[legato::kMostRows * kSteps];
    float *to[legato::kMostRows * kSteps];
    const Size width = s.FV * V;
    Size n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n) {
        a[n] = gates(r, t) + s.l.w_first * s.P;
        to[n] = dx + n * width;
        from[n] = to[n];
      }
    memset(dx, 0, n * width * sizeof(float));
    multiply(n, s.l.w_count * s.P, s.FV, a, WT, from, to);
    n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n)
        copy_row(p.dx + ((begin + r) * p.steps + t) * p.features, to[n], p.features);
  }

  void all_steps() const {
    for (Size end = p.steps; end > 0;) {
      const Size start = end > kSteps ? end - kSteps : 0;
      for (Size t = end - 1; t >= start; --t) {
        for (Size r = 0; r < rows; ++r) activate(r, t);
        propagate_states(t);
      }
      if (p.dx != nullptr) propagate_inputs(start, end);
      end = start;
    }
    for (Size r = 0; r < rows; ++r) {
      copy_row(p.dh0 + (begin + r) * p.units, dh + r * line, p.units);
      if (p.cell == Cell::lstm)
        copy_row(p.dc0 + (begin + r) * p.units, dc + r * line, p.units);
    }
  }
};

void backward(const Problem &p, const float *weights, Size begin, Size end, float *scratch) {
  BackwardRun(p, weights, begin, end, scratch).all_steps();
}

// Weight gradients: dW = sum x^T dz, dU = sum h^T dz, db = sum dz over all rows and steps.

int runs(const Problem &p, Size *vectors) {
  const Sizes s(p);
  for (int i = 0; i < s.l.runs; ++i) vectors[i] = s.l.run[i].count * s.UV;
  return s.l.runs;
}

inline Size tiles(Size count) { return (count + TR - 1) / TR; }

struct Gradients {
  const Problem &p;
  const Sizes s;
  const Run &run;
  const Columns &columns;
  Size vectors;             // of the columns
  Size x_tiles, all_tiles;  // tiles of TR rows of W, and of W and U
  float *sums, *bias, *left, *right;

  Gradients(const Problem &problem, const Columns &some, float *scratch)
      : p(problem), s(problem), run(s.l.run[some.run]), columns(some) {
    vectors = columns.end - columns.begin;
    x_tiles = run.inputs ? tiles(p.features) : 0;
    all_tiles = x_tiles + (run.states ? tiles(p.units) : 0);
    bias = scratch;
    right = bias + vectors * V;
    left = right + kDepth * TV * V;
    sums = left + round_up(kDepth * all_tiles * TR, 16);
  }

  Size scratch_size() const {
    return vectors * V + kDepth * TV * V + round_up(kDepth * all_tiles * TR, 16) +
           all_tiles * TR * vectors * V;
  }

  // One row of the left factor into its tiles, each (depth, TR).
  static void spread(const float *from, Size count, Size depth, float *to) {
    Size at = 0;
    for (; at + TR <= count; at += TR, to += depth * TR) memcpy(to, from + at, TR * sizeof(float));
    if (at == count) return;
    memset(to, 0, TR * sizeof(float));
    copy_row(to, from + at, count - at);
  }

  const float *state(Size t, Size row, float *scaled) const {
    if (run.reset) return p.gates + (t * p.rows + row) * s.stride + 3 * s.P;
    const float *h = t == 0 ? p.h0 + row * p.units : p.hidden + (row * p.steps + t - 1) * p.units;
    if (p.scale == nullptr) return h;
    const float *scale = p.scale + (s.l.gate[run.first] * p.rows + row) * p.units;
    for (Size u = 0; u < p.units; ++u) scaled[u] = h[u] * scale[u];
    return scaled;
  }

  void pack_left(Size start, Size depth, float *scaled) const {
    for (Size k = 0; k < depth; ++k) {
      const Size t = (start + k) / p.rows, row = (start + k) % p.rows;
      if (run.inputs)
        spread(p.x + (row * p.steps + t) * p.features, p.features, depth, left + k * TR);
      if (run.states)
        spread(state(t, row, scaled), p.units, depth, left + (x_tiles * depth + k) * TR);
    }
  }

  template <int N>
  void pack_right(Size start, Size depth, Size vector) const {
    const float *from = p.gates + start * s.stride + run.first * s.P + (columns.begin + vector) * V;
    Vector sum[N] = {};
    for (Size k = 0; k < depth; ++k, from += s.stride)
      for (int v = 0; v < N; ++v) {
        const Vector value = load(from + v * V);
        store(right + (k * N + v) * V, value);
        sum[v] += value;
      }
    for (int v = 0; v < N; ++v) {
      float *to = bias + (vector + v) * V;
      store(to, load(to) + sum[v]);
    }
  }

  void pack_panel(Size start, Size depth, const Panel &at) const {
    if constexpr (TV >= 4)
      if (at.vectors == 4) return pack_right<4>(start, depth, at.first);
    if constexpr (TV >= 3)
      if (at.vectors == 3) return pack_right<3>(start, depth, at.first);
    return at.vectors == 2 ? pack_right<2>(start, depth, at.first)
                           : pack_right<1>(start, depth, at.first);
  }

  void write_rows(const float *from, Size count, int width, Size column, Size n, float *to) const {
    for (Size i = 0; i < count; ++i)
      copy_row(to + i * s.columns + column, from + i * width * V, n);
  }

  void write(const Panel &at) const {
    const float *from = sums + at.first * V * all_tiles * TR;
    for (int v = 0; v < at.vectors; ++v, from += V) {
      const Size vector = columns.begin + at.first + v, unit = vector % s.UV * V;
      const int gate = s.l.gate[run.first + vector / s.UV];
      const Size column = gate * p.units + unit;
      const Size n = p.units - unit < V ? p.units - unit : V;
      const float *sum = bias + (at.first + v) * V;
      if (run.inputs) {
        write_rows(from, p.features, at.vectors, column, n, p.dW);
        copy_row(p.db + column, sum, n);
      }
      if (run.states) {
        write_rows(from + x_tiles * TR * at.vectors * V, p.units, at.vectors, column, n, p.dU);
        if (p.cell == Cell::gru) copy_row(p.db + s.columns + column, sum, n);
      }
    }
  }

  void compute() const {
    memset(bias, 0, vectors * V * sizeof(float));
    memset(sums, 0, all_tiles * TR * vectors * V * sizeof(float));
    float *scaled = p.scale != nullptr
                        ? static_cast<float *>(malloc(p.units * sizeof(float)))
                        : nullptr;
    const Size whole = p.rows * p.steps;
    for (Size start = 0; start < whole; start += kDepth) {
      const Size depth = start + kDepth < whole ? kDepth : whole - start;
      pack_left(start, depth, scaled);
      for (int n = 0; n < panel_count(vectors); ++n) {
        const Panel at = panel(vectors, n);
        pack_panel(start, depth, at);
        float *sum = sums + at.first * V * all_tiles * TR;
        for (Size i = 0; i < all_tiles; ++i)
          outer(at.vectors, depth, left + i * depth * TR, right, sum + i * TR * at.vectors * V);
      }
    }
    free(scaled);
    for (int n = 0; n < panel_count(vectors); ++n) write(panel(vectors, n));
  }
};

std::size_t weight_gradients_scratch_size(const Problem &p, const Columns &columns) {
  return Gradients(p, columns, nullptr).scratch_size();
}

void weight_gradients(const Problem &p, const Columns &columns, float *scratch) {
  Gradients(p, columns, scratch).compute();
}

}  // namespace

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
                                        weight_gradients};
  return &kernel;
}
