// Weight gradients: dW = sum x^T dz, dU = sum h^T dz, db = sum dz over all rows and steps.
#pragma once

#include "layout.h"

namespace {

using legato::Columns;

constexpr Size kDepth = 192;  // rows and steps that are summed at once: a panel stays in the cache

int runs(const Problem &p, Size *vectors) {
  const Sizes s(p);
  for (int i = 0; i < s.l.runs; ++i) vectors[i] = s.l.run[i].count * s.UV;
  return s.l.runs;
}

inline Size tiles(Size count) { return (count + TR - 1) / TR; }

struct Gradients {
  static constexpr Size kTile = kDepth * TR + kPad;  // floats of a tile of the left factor

  const Problem &p;
  const Sizes s;
  const Run &run;
  const Columns &columns;
  Size vectors;             // of the columns
  Size x_tiles, all_tiles;  // tiles of TR rows of W, and of W and U
  float *bias, *right, *left, *sums, *scaled;

  Gradients(const Problem &problem, const Columns &some, float *scratch)
      : p(problem), s(problem), run(s.l.run[some.run]), columns(some) {
    vectors = columns.end - columns.begin;
    x_tiles = run.inputs ? tiles(p.features) : 0;
    all_tiles = x_tiles + (run.states ? tiles(p.units) : 0);
    bias = scratch;
    right = bias + vectors * V;
    left = right + kDepth * TV * V;
    sums = left + all_tiles * kTile;
    scaled = sums + all_tiles * TR * vectors * V;
  }

  Size scratch_size() const {
    return vectors * V + kDepth * TV * V + all_tiles * (kTile + TR * vectors * V) + s.P;
  }

  // One row of the left factor into its tiles.
  static void spread(const float *from, Size count, float *to) {
    Size at = 0;
    for (; at + TR <= count; at += TR, to += kTile) memcpy(to, from + at, TR * sizeof(float));
    if (at == count) return;
    memset(to, 0, TR * sizeof(float));
    copy_row(to, from + at, count - at);
  }

  const float *state(Size t, Size row) const {
    if (run.reset) return p.gates + (t * p.rows + row) * s.stride + 3 * s.P;
    const float *h = t == 0 ? p.h0 + row * p.units : p.hidden + (row * p.steps + t - 1) * p.units;
    if (p.scale == nullptr) return h;
    const float *scale = p.scale + (s.l.gate[run.first] * p.rows + row) * p.units;
    for (Size u = 0; u < p.units; ++u) scaled[u] = h[u] * scale[u];
    return scaled;
  }

  void pack_left(Size start, Size depth) const {
    for (Size k = 0; k < depth; ++k) {
      const Size t = (start + k) / p.rows, row = (start + k) % p.rows;
      if (run.inputs)
        spread(p.x + (row * p.steps + t) * p.features, p.features, left + k * TR);
      if (run.states)
        spread(state(t, row), p.units, left + x_tiles * kTile + k * TR);
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

  // The rows of W or U, whose tiles begin with `first_tile`: few rows at a time with all columns, since
  // the rows are far apart in memory.
  void write_rows(Size first_tile, Size count, float *to) const {
    for (Size row = 0; row < count; row += TR) {
      const Size rows = count - row < TR ? count - row : TR;
      for (int n = 0; n < panel_count(vectors); ++n) {
        const Panel at = panel(vectors, n);
        const Size tile = at.first * all_tiles + (first_tile + row / TR) * at.vectors;
        const float *from = sums + tile * TR * V;
        for (int v = 0; v < at.vectors; ++v) {
          const Place place = place_of(at.first + v);
          for (Size r = 0; r < rows; ++r) {
            float *next = to + (row + r) * s.columns + place.column;
            const float *some = from + (r * at.vectors + v) * V;
            place.count == V ? store(next, load(some)) : copy_row(next, some, place.count);
          }
        }
      }
    }
  }

  // Where a vector's columns are in the weights of Keras, and how many it has.
  struct Place {
    Size column, count;
  };

  Place place_of(Size vector) const {
    const Size number = columns.begin + vector, unit = number % s.UV * V;
    const Size column = s.l.gate[run.first + number / s.UV] * p.units + unit;
    return {column, p.units - unit < V ? p.units - unit : V};
  }

  void write() const {
    if (run.inputs) write_rows(0, p.features, p.dW);
    if (run.states) write_rows(x_tiles, p.units, p.dU);
    for (Size v = 0; v < vectors; ++v) {
      const Place place = place_of(v);
      float *of_inputs = p.db + place.column;
      if (run.inputs) copy_row(of_inputs, bias + v * V, place.count);
      if (run.states && p.cell == Cell::gru)
        copy_row(of_inputs + s.columns, bias + v * V, place.count);
    }
  }

  // Asks for some of the numbers that the next call of pack_panel reads: those of rows and steps from
  // `start` to `end` and of the vectors of a panel. They are far apart in memory.
  void fetch_panel(Size start, Size end, const Panel &at) const {
    for (Size k = start; k < end; ++k) {
      const float *from = p.gates + k * s.stride + run.first * s.P + (columns.begin + at.first) * V;
      for (int v = 0; v < at.vectors; ++v) __builtin_prefetch(from + v * V);
    }
  }

  void compute() const {
    memset(bias, 0, vectors * V * sizeof(float));
    const Size whole = p.rows * p.steps;
    if (whole == 0) memset(sums, 0, all_tiles * TR * vectors * V * sizeof(float));
    for (Size start = 0; start < whole; start += kDepth) {
      const Size depth = start + kDepth < whole ? kDepth : whole - start;
      pack_left(start, depth);
      for (int n = 0; n < panel_count(vectors); ++n) {
        const Panel at = panel(vectors, n);
        pack_panel(start, depth, at);
        float *sum = sums + at.first * V * all_tiles * TR;
        const bool last = n + 1 == panel_count(vectors);
        const Panel next = panel(vectors, last ? 0 : n + 1);
        const Size first = last ? start + depth : start;
        const Size rest = whole - first < kDepth ? whole - first : kDepth;
        for (Size i = 0; i < all_tiles; ++i) {
          fetch_panel(first + rest * i / all_tiles, first + rest * (i + 1) / all_tiles, next);
          outer(at.vectors, depth, left + i * kTile, right, sum + i * TR * at.vectors * V,
                start == 0);
        }
      }
    }
    write();
  }
};

std::size_t weight_gradients_scratch_size(const Problem &p, const Columns &columns) {
  return Gradients(p, columns, nullptr).scratch_size();
}

void weight_gradients(const Problem &p, const Columns &columns, float *scratch) {
  Gradients(p, columns, scratch).compute();
}

}  // namespace
