// How the gates of a cell lie in memory: blocks of columns, and packed weights.
#pragma once

#include "products.h"

namespace {

using legato::Cell;
using legato::Problem;
using legato::Team;

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
      l = {4, 4, 5, 0, 4, 0, 4, {0, 1, 2, 3}, 1, {{0, 4, true, true, false}}};
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

// Units in slices that are computed one by one, each with all its gates; without a team all units are
// one slice. What belongs to a slice lies together: its weights, its biases and its gates' inputs.
struct Slices {
  Size all, most;  // vectors of units: of all slices, and of each but the last

  int count() const { return static_cast<int>((all + most - 1) / most); }
  Size first(Size n) const { return n * most; }
  Size vectors(Size n) const { return all - first(n) < most ? all - first(n) : most; }
};

// Sizes that all functions need, computed once.
struct Sizes {
  Layout l;
  Size P;        // padded units
  Size UV, FV;   // vectors of units and features
  Size columns;  // of W and U
  Size stride;   // floats of a row of gates
  int count;
  Product product[4];
  Slices forward, backward, inputs;  // of units in both passes, and of features
  int panel;  // the most vectors of a panel of U, or of its transpose

  explicit Sizes(const Problem &p) : l(layout(p)) {
    P = padded(p.units);
    UV = P / V;
    FV = padded(p.features) / V;
    columns = l.gates * p.units;
    stride = (p.gates != nullptr ? l.kept : l.blocks) * P;
    count = products(p, l, product);
    const Size some = UV % 8 == 0 || UV > 32 ? 4 : 2;  // few, but as many for one thread as another
    forward = backward = {UV, p.shared ? some : UV};
    inputs = {FV, p.shared ? some : FV};
    panel = p.shared && p.rows == 1 ? kWide : TV;
  }
};

// Packing.

// Columns of some blocks of gates side by side, from (inner, columns) to panels of `most` vectors:
// those of `some` vectors of units from `first` on.
void pack_slice(const float *from, Size inner, Size columns, Size units, Size first, Size some,
                const int *gates, int count, int most, float *to) {
  const Size vectors = count * some;
  for (int n = 0; n < panel_count(vectors, most); ++n) {
    const Panel at = panel(vectors, n, most);
    Size column[kWide], size[kWide];
    for (int v = 0; v < at.vectors; ++v) {
      const Size block = (at.first + v) / some, unit = (first + (at.first + v) % some) * V;
      column[v] = gates[block] * units + unit, size[v] = units - unit;
    }
    float *next = to + at.first * V * inner;
    for (const float *row = from; row != from + inner * columns; row += columns)
      for (int v = 0; v < at.vectors; ++v, next += V) store(next, load(row + column[v], size[v]));
  }
}

typedef float Four __attribute__((vector_size(16)));

inline Four four(const float *from) {
  Four value;
  memcpy(&value, from, sizeof value);
  return value;
}

// The transpose of four rows of four numbers each.
inline void transpose_four(const float *from, Size stride, float *to, Size to_stride) {
  const Four a = four(from), b = four(from + stride);
  const Four c = four(from + 2 * stride), d = four(from + 3 * stride);
  const Four ab = {a[0], b[0], a[1], b[1]}, cd = {c[0], d[0], c[1], d[1]};
  const Four AB = {a[2], b[2], a[3], b[3]}, CD = {c[2], d[2], c[3], d[3]};
  const Four columns[] = {{ab[0], ab[1], cd[0], cd[1]},
                          {ab[2], ab[3], cd[2], cd[3]},
                          {AB[0], AB[1], CD[0], CD[1]},
                          {AB[2], AB[3], CD[2], CD[3]}};
  for (int i = 0; i < 4; ++i) memcpy(to + i * to_stride, columns + i, sizeof columns[i]);
}

// to (units, width) = the transpose of `rows` rows of `units` numbers. Asks for the memory of the next
// columns, whose lines are far apart.
inline void transpose(const float *from, Size rows, Size units, Size stride, float *to, Size width) {
  constexpr Size line = legato::kLine / sizeof(float);
  Size j = 0;
  for (; j + 4 <= rows; j += 4) {
    for (Size i = j; i < j + 4; ++i) {
      for (Size u = units; u < 2 * units; u += line) __builtin_prefetch(from + i * stride + u);
      for (Size u = 0; u < width; u += line) __builtin_prefetch(to + (units + i) * width + u, 1);
    }
    Size unit = 0;
    for (; unit + 4 <= units; unit += 4)
      transpose_four(from + j * stride + unit, stride, to + unit * width + j, width);
    for (; unit < units; ++unit)
      for (Size i = j; i < j + 4; ++i) to[unit * width + i] = from[i * stride + unit];
  }
  for (; j < rows; ++j)
    for (Size unit = 0; unit < units; ++unit) to[unit * width + j] = from[j * stride + unit];
}

// The transpose of such columns of all units: from (rows, columns), of which those of `some` vectors
// from `first` on become columns, to panels of (count * padded units, rows).
void pack_transposed(const float *from, Size rows, Size columns, Size units, Size first, Size some,
                     const int *gates, int count, int most, float *to) {
  const Size P = padded(units), inner = count * P;
  for (int n = 0; n < panel_count(some, most); ++n) {
    const Panel at = panel(some, n, most);
    const Size width = at.vectors * V, row_first = (first + at.first) * V;
    const Size left = rows - row_first < width ? rows - row_first : width;
    float *next = to + at.first * V * inner;
    if (left < width || units < P) memset(next, 0, inner * width * sizeof(float));
    for (int block = 0; block < count; ++block)
      for (Size start = 0; start < units; start += 64) {
        const Size some_units = units - start < 64 ? units - start : 64;
        transpose(from + row_first * columns + gates[block] * units + start, left, some_units, columns,
                  next + (block * P + start) * width, width);
      }
  }
}

std::size_t forward_weights_size(const Problem &p) {
  const Sizes s(p);
  return (p.features * s.l.w_count + p.units * s.l.u_count + s.l.blocks) * s.P;
}

// The bias of a column of a block.
float bias_of(const Problem &p, const Sizes &s, int block, Size unit) {
  const Size column = s.l.gate[block] * p.units + unit;
  if (p.cell != Cell::gru || block == 3) return p.b[column];
  const float of_state = p.b[s.columns + column];  // a GRU's biases of input and state
  return block == 0 ? of_state : p.b[column] + of_state;
}

// Of each slice: W, then U product by product, then the bias of every block.
void pack_forward_weights(const Problem &p, float *to, Team *team) {
  const Sizes s(p);
  share(team, s.forward.count(), [&](Size n) {
    const Size first = s.forward.first(n), some = s.forward.vectors(n), width = some * V;
    const auto pack = [&](const float *from, Size inner, int block, int count, int most, float *at) {
      pack_slice(from, inner, s.columns, p.units, first, some, s.l.gate + block, count, most, at);
      return at + inner * count * width;
    };
    float *next = to + first * V * (p.features * s.l.w_count + p.units * s.l.u_count + s.l.blocks);
    next = pack(p.W, p.features, s.l.w_first, s.l.w_count, TV, next);
    for (int i = 0; i < s.count; ++i)
      next = pack(p.U, p.units, s.product[i].first, s.product[i].count, s.panel, next);
    for (int block = 0; block < s.l.blocks; ++block)
      for (Size u = 0; u < width; ++u) {
        const Size unit = first * V + u;
        next[block * width + u] = unit < p.units ? bias_of(p, s, block, unit) : 0.0f;
      }
  });
}

std::size_t backward_weights_size(const Problem &p) {
  const Sizes s(p);
  return (s.l.u_count * s.UV + s.l.w_count * s.FV) * s.P * V;
}

// Of each slice of units U transposed, product by product; then of each slice of features W's.
void pack_backward_weights(const Problem &p, float *to, Team *team) {
  const Sizes s(p);
  const Size depth = s.l.u_count * s.P;
  share(team, s.backward.count(), [&](Size n) {
    const Size first = s.backward.first(n), some = s.backward.vectors(n);
    float *next = to + first * V * depth;
    for (int i = 0; i < s.count; ++i) {
      const Product &product = s.product[i];
      pack_transposed(p.U, p.units, s.columns, p.units, first, some, s.l.gate + product.first,
                      product.count, s.panel, next);
      next += product.count * s.P * some * V;
    }
  });
  if (p.dx == nullptr) return;
  to += depth * s.UV * V;
  share(team, s.inputs.count(), [&](Size n) {
    const Size first = s.inputs.first(n);
    pack_transposed(p.W, p.features, s.columns, p.units, first, s.inputs.vectors(n),
                    s.l.gate + s.l.w_first, s.l.w_count, TV, to + first * V * s.l.w_count * s.P);
  });
}

}  // namespace
