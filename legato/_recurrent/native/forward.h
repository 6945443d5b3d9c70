// The forward pass of some rows through all time steps.
#pragma once

#include "layout.h"

namespace {

constexpr Size kBlock = 64;  // rows times steps whose products with inputs are computed together

inline Size steps_at_once(Size rows) { return kBlock / rows; }

std::size_t forward_scratch_size(const Problem &p, Size rows) {
  const Sizes s(p);  // h twice, c, and h times the scale of each gate; z of a block
  return rows * (s.P + kPad) * 7 + kBlock * (s.l.blocks * s.P + kPad);
}

inline bool skipped(const Problem &p, Size row, Size step) {
  return p.mask != nullptr && p.mask[row * p.steps + step] == 0;
}

// A row of the units of a slice. In all functions that take one, the gates' inputs z become the new
// state h and c, and what is kept of them goes to `to`: to a row of the residual, or z again.
struct UnitsRow {
  const float *z;
  float *to;
  Size width, stride;   // floats of a block of z, and from one block to the next in `to`
  const float *before;  // the old h
  float *h, *c;
  bool skip;            // whether the states stay as they are
};

inline __attribute__((always_inline)) void lstm_row(UnitsRow row, bool keep) {
  const Size width = row.width, P = row.stride;
  const float *z = row.z;
  float *to = row.to;
  for (Size u = 0; u < width; u += V) {
    const Vector i = sigmoid(load(z + u)), f = sigmoid(load(z + width + u));
    const Vector g = tanh_of(load(z + 2 * width + u)), o = sigmoid(load(z + 3 * width + u));
    const Vector before = load(row.c + u), next = f * before + i * g, bent = tanh_of(next);
    if (!row.skip) store(row.c + u, next);
    store(row.h + u, row.skip ? load(row.before + u) : o * bent);
    if (!keep) continue;
    store(to + u, i), store(to + P + u, f), store(to + 2 * P + u, g), store(to + 3 * P + u, o);
    store(to + 4 * P + u, row.skip ? before : next);
  }
}

inline __attribute__((always_inline)) void gru_row(UnitsRow row) {
  const Size width = row.width, P = row.stride;
  const float *z = row.z;
  for (Size u = 0; u < width; u += V) {
    const Vector update = sigmoid(load(z + width + u)), reset = sigmoid(load(z + 2 * width + u));
    const Vector inner = load(z + u), candidate = tanh_of(load(z + 3 * width + u) + reset * inner);
    const Vector before = load(row.before + u);
    store(row.h + u, row.skip ? before : candidate + update * (before - candidate));
    store(row.to + u, inner), store(row.to + P + u, update);
    store(row.to + 2 * P + u, reset), store(row.to + 3 * P + u, candidate);
  }
}

// The gates of a GRU that come before its second product: `left` becomes r * left.
void reset_row(UnitsRow row, float *left) {
  for (Size u = 0; u < row.width; u += V) {
    const Vector update = sigmoid(load(row.z + u)), reset = sigmoid(load(row.z + row.width + u));
    store(row.to + u, update), store(row.to + row.stride + u, reset);
    store(left + u, reset * load(left + u));
  }
}

inline __attribute__((always_inline)) void reset_before_row(UnitsRow row) {
  for (Size u = 0; u < row.width; u += V) {
    const Vector update = load(row.to + u), candidate = tanh_of(load(row.z + 2 * row.width + u));
    const Vector before = load(row.before + u);
    store(row.h + u, row.skip ? before : candidate + update * (before - candidate));
    store(row.to + 2 * row.stride + u, candidate);
  }
}

inline __attribute__((always_inline)) void simple_row(UnitsRow row) {
  for (Size u = 0; u < row.width; u += V) {
    const Vector next = tanh_of(load(row.z + u));
    store(row.h + u, row.skip ? load(row.before + u) : next);
    store(row.to + u, next);
  }
}

inline void copy_row(float *to, const float *from, Size count) {
  memcpy(to, from, count * sizeof(float));
}

// Threads of a team read it: no other variables lie on its cache lines.
struct alignas(legato::kLine) ForwardRun {
  const Problem &p;
  const Sizes s;
  Size begin, rows, line, z_line;
  Size block;  // steps whose z is there at once
  float *h[2], *c, *left[4], *z;  // (rows, line) each; z (steps at once, rows, z_line)
  const float *weights;
  legato::Team *team;

  ForwardRun(const Problem &problem, const float *packed, Size first, Size end, float *scratch,
             legato::Team *some)
      : p(problem), s(problem), begin(first), rows(end - first), line(s.P + kPad), weights(packed),
        team(some) {
    z_line = s.l.blocks * s.P + kPad;
    block = steps_at_once(rows);
    h[0] = scratch, h[1] = h[0] + rows * line, c = h[1] + rows * line;
    for (int i = 0; i < 4; ++i) left[i] = c + (i + 1) * rows * line;
    z = c + 5 * rows * line;
    memset(scratch, 0, 7 * rows * line * sizeof(float));
    for (Size r = 0; r < rows; ++r) {
      copy_row(h[0] + r * line, p.h0 + (begin + r) * p.units, p.units);
      if (p.cell == Cell::lstm) copy_row(c + r * line, p.c0 + (begin + r) * p.units, p.units);
    }
  }

  // The state before step t.
  float *state(Size r, Size t) const { return h[t % 2] + r * line; }

  // The gates' inputs of a slice at step t, (rows, z_line): of each row (blocks, the slice's units).
  float *gates(Size t, Size slice) const {
    return z + t % block * rows * z_line + s.forward.first(slice) * V * s.l.blocks;
  }

  UnitsRow units_row(Size r, Size t, Size slice, float *z_rows) const {
    const Size unit = s.forward.first(slice) * V, width = s.forward.vectors(slice) * V;
    float *of = z_rows + r * z_line;
    const bool keeps = p.gates != nullptr;
    float *to = keeps ? p.gates + (t * p.rows + begin + r) * s.stride + unit : of;
    return {of, to, width, keeps ? s.P : width, state(r, t) + unit, state(r, t + 1) + unit,
            c + r * line + unit, skipped(p, begin + r, t)};
  }

  // The weights of a slice: of W, then of the products with U, then the biases.
  const float *slice_weights(Size slice, Size inner) const {
    const Size all = p.features * s.l.w_count + p.units * s.l.u_count + s.l.blocks;
    return weights + V * (s.forward.first(slice) * all + s.forward.vectors(slice) * inner);
  }

  void project_inputs(Size start, Size end, Size slice) const {
    const Size width = s.forward.vectors(slice) * V;
    const float *W = slice_weights(slice, 0), *a[kBlock], *from[kBlock];
    const float *bias = slice_weights(slice, p.features * s.l.w_count + p.units * s.l.u_count);
    float *to[kBlock];
    Size n = 0;
    float *const z_rows = gates(start, slice);
    for (Size r = 0; r < rows; ++r)
      for (Size t = start; t < end; ++t, ++n) {
        float *const of = z_rows + ((t - start) * rows + r) * z_line;
        a[n] = p.x + ((begin + r) * p.steps + t) * p.features;
        from[n] = bias + s.l.w_first * width;
        to[n] = of + s.l.w_first * width;
        if (p.cell == Cell::gru) copy_row(of, bias, width);
      }
    multiply(n, p.features, s.l.w_count * s.forward.vectors(slice), a, W, from, to);
  }

  // What a product has on the left: h, or h times the gate's scale, in time times r.
  const float *factor(int i, Size r, Size t) const {
    const bool plain = p.scale == nullptr && !s.product[i].reset;
    return plain ? state(r, t) : left[i] + r * line;
  }

  void prepare_factors(Size t) const {
    for (int i = 0; i < s.count; ++i)
      for (Size r = 0; r < rows; ++r) {
        const float *from = state(r, t);
        float *to = left[i] + r * line;
        const Size gate = s.l.gate[s.product[i].first];
        const float *scale = p.scale + (gate * p.rows + begin + r) * p.units;
        if (p.scale != nullptr)
          for (Size u = 0; u < p.units; ++u) to[u] = from[u] * scale[u];
        else if (s.product[i].reset)
          copy_row(to, from, p.units);
      }
  }

  void project_states(Size t, int i, Size slice) const {
    const Size vectors = s.forward.vectors(slice);
    Size inner = p.features * s.l.w_count;
    for (int before = 0; before < i; ++before) inner += p.units * s.product[before].count;
    const float *a[legato::kMostRows];
    float *to[legato::kMostRows], *const z_rows = gates(t, slice);
    for (Size r = 0; r < rows; ++r) {
      a[r] = factor(i, r, t);
      if (p.shared) fetch(a[r], p.units);
      to[r] = z_rows + r * z_line + s.product[i].first * vectors * V;
    }
    multiply(rows, p.units, s.product[i].count * vectors, a, slice_weights(slice, inner), to, to,
             t % 2, s.panel);
  }

  void activate(Size t, Size slice) const {
    const Size unit = s.forward.first(slice) * V;
    float *const z_rows = gates(t, slice);
    for (Size r = 0; r < rows; ++r) {
      const UnitsRow row = units_row(r, t, slice, z_rows);
      switch (p.cell) {
        case Cell::lstm:
          lstm_row(row, p.gates != nullptr);
          break;
        case Cell::gru:
          gru_row(row);
          break;
        case Cell::gru_reset_before:
          reset_before_row(row);
          break;
        case Cell::simple_rnn:
          simple_row(row);
          break;
      }
      const Size count = p.units - unit < row.width ? p.units - unit : row.width;
      if (p.hidden != nullptr)
        copy_row(p.hidden + ((begin + r) * p.steps + t) * p.units + unit, row.h, count);
    }
  }

  void reset(Size t, int i, Size slice) const {
    const Size unit = s.forward.first(slice) * V;
    float *const z_rows = gates(t, slice);
    for (Size r = 0; r < rows; ++r) {
      const UnitsRow row = units_row(r, t, slice, z_rows);
      float *to = left[i] + r * line + unit;
      reset_row(row, to);
      if (p.gates != nullptr) copy_row(row.to + 3 * s.P, to, row.width);
    }
  }

  void step(Size t) const {
    if (p.scale != nullptr || p.cell == Cell::gru_reset_before) prepare_factors(t);
    for (int i = 0; i < s.count; ++i) {
      const auto part = [this, t, i](Size slice) {
        project_states(t, i, slice);
        if (i + 1 == s.count)
          activate(t, slice);
        else if (s.product[i + 1].reset)
          reset(t, i + 1, slice);
      };
      share(team, s.forward.count(), part, t % 2);
    }
  }

  void all_steps() const {
    for (Size start = 0; start < p.steps; start += block) {
      const Size end = start + block < p.steps ? start + block : p.steps;
      const auto part = [this, start, end](Size slice) { project_inputs(start, end, slice); };
      share(team, s.forward.count(), part);
      for (Size t = start; t < end; ++t) step(t);
    }
    for (Size r = 0; r < rows; ++r) {
      copy_row(p.h_final + (begin + r) * p.units, state(r, p.steps), p.units);
      if (p.cell == Cell::lstm)
        copy_row(p.c_final + (begin + r) * p.units, c + r * line, p.units);
    }
  }
};

void forward(const Problem &p, const float *weights, Size begin, Size end, float *scratch,
             legato::Team *team) {
  ForwardRun(p, weights, begin, end, scratch, team).all_steps();
}

}  // namespace
