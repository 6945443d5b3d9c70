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
          float *to, Team *team = nullptr) {
  const Size UV = padded(units) / V, vectors = count * UV;
  share(team, panel_count(vectors), [&](Size n) {
    const Panel at = panel(vectors, static_cast<int>(n));
    Size column[TV], size[TV];
    for (int v = 0; v < at.vectors; ++v) {
      const Size block = (at.first + v) / UV, unit = (at.first + v) % UV * V;
      column[v] = gates[block] * units + unit, size[v] = units - unit;
    }
    float *next = to + at.first * V * inner;
    for (const float *row = from; row != from + inner * columns; row += columns)
      for (int v = 0; v < at.vectors; ++v, next += V) store(next, load(row + column[v], size[v]));
  });
}

// The transpose of the same columns: from (rows, columns) to panels of (count * padded units, rows).
void pack_transposed(const float *from, Size rows, Size columns, Size units, const int *gates,
                     int count, float *to, Team *team) {
  const Size P = padded(units), inner = count * P, vectors = padded(rows) / V;
  share(team, panel_count(vectors), [&](Size n) {
    const Panel at = panel(vectors, static_cast<int>(n));
    const Size width = at.vectors * V;
    float *next = to + at.first * V * inner;
    memset(next, 0, inner * width * sizeof(float));
    for (int block = 0; block < count; ++block)
      for (Size start = 0; start < units; start += 64) {
        const Size end = start + 64 < units ? start + 64 : units;
        for (Size j = 0; j < width && at.first * V + j < rows; ++j) {
          const float *row = from + (at.first * V + j) * columns + gates[block] * units;
          for (Size unit = start; unit < end; ++unit)
            next[(block * P + unit) * width + j] = row[unit];
        }
      }
  });
}

std::size_t forward_weights_size(const Problem &p) {
  const Sizes s(p);
  return (p.features * s.l.w_count + p.units * s.l.u_count + s.l.blocks) * s.P;
}

// W, then U product by product, then the bias of every block.
void pack_forward_weights(const Problem &p, float *to, Team *team) {
  const Sizes s(p);
  pack(p.W, p.features, s.columns, p.units, s.l.gate + s.l.w_first, s.l.w_count, to, team);
  to += p.features * s.l.w_count * s.P;
  for (int i = 0; i < s.count; ++i) {
    const Product &product = s.product[i];
    pack(p.U, p.units, s.columns, p.units, s.l.gate + product.first, product.count, to, team);
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
void pack_backward_weights(const Problem &p, float *to, Team *team) {
  const Sizes s(p);
  for (int i = 0; i < s.count; ++i) {
    const Product &product = s.product[i];
    pack_transposed(p.U, p.units, s.columns, p.units, s.l.gate + product.first, product.count, to,
                    team);
    to += product.count * s.P * s.UV * V;
  }
  if (p.dx != nullptr)
    pack_transposed(p.W, p.features, s.columns, p.units, s.l.gate + s.l.w_first, s.l.w_count, to,
                    team);
}

}  // namespace
