// The forward pass of some rows through all time steps.
#pragma once

#include "layout.h"

namespace {

constexpr Size kBlock = 64;  // rows times steps whose products with inputs are computed together

inline Size steps_at_once(Size rows) { return kBlock / rows; }

std::size_t forward_scratch_size(const Problem &p, Size rows) {
  const Sizes s(p);  // h, c, and h times the scale of each gate; z of a block
  return rows * (s.P + kPad) * 6 + kBlock * (s.l.blocks * s.P + kPad);
}

inline bool skipped(const Problem &p, Size row, Size step) {
  return p.mask != nullptr && p.mask[row * p.steps + step] == 0;
}

// In all of these a row of gates' inputs z becomes the new state h and c, and what is kept of it goes
// to `to`: a row of the residual, or z again without derivatives.
void lstm_row(const float *z, float *to, float *h, float *c, Size P, bool skip, bool keep) {
  for (Size u = 0; u < P; u += V) {
    const Vector i = sigmoid(load(z + u)), f = sigmoid(load(z + P + u));
    const Vector g = tanh_of(load(z + 2 * P + u)), o = sigmoid(load(z + 3 * P + u));
    const Vector before = load(c + u), next = f * before + i * g, bent = tanh_of(next);
    if (!skip) {
      store(c + u, next);
      store(h + u, o * bent);
    }
    if (!keep) continue;
    store(to + u, i), store(to + P + u, f), store(to + 2 * P + u, g), store(to + 3 * P + u, o);
    store(to + 4 * P + u, skip ? before : next);
    store(to + 5 * P + u, bent);
  }
}

void gru_row(const float *z, float *to, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = sigmoid(load(z + P + u)), reset = sigmoid(load(z + 2 * P + u));
    const Vector inner = load(z + u), candidate = tanh_of(load(z + 3 * P + u) + reset * inner);
    const Vector before = load(h + u);
    if (!skip) store(h + u, candidate + update * (before - candidate));
    store(to + u, inner), store(to + P + u, update);
    store(to + 2 * P + u, reset), store(to + 3 * P + u, candidate);
  }
}

// The gates of a GRU that come before its second product: `left` becomes r * left.
void reset_row(const float *z, float *to, float *left, Size P) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = sigmoid(load(z + u)), reset = sigmoid(load(z + P + u));
    store(to + u, update), store(to + P + u, reset);
    store(left + u, reset * load(left + u));
  }
}

void reset_before_row(const float *z, float *to, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector update = load(to + u), candidate = tanh_of(load(z + 2 * P + u));
    const Vector before = load(h + u);
    if (!skip) store(h + u, candidate + update * (before - candidate));
    store(to + 2 * P + u, candidate);
  }
}

void simple_row(const float *z, float *to, float *h, Size P, bool skip) {
  for (Size u = 0; u < P; u += V) {
    const Vector next = tanh_of(load(z + u));
    if (!skip) store(h + u, next);
    store(to + u, next);
  }
}

inline void copy_row(float *to, const float *from, Size count) {
  memcpy(to, from, count * sizeof(float));
}

struct ForwardRun {
  const Problem &p;
  const Sizes s;
  Size begin, rows, line, z_line;
  float *h, *c, *left[4], *z;  // (rows, line) each; z (steps at once, rows, z_line)
  const float *W, *U, *bias;
  legato::Team *team;

  ForwardRun(const Problem &problem, const float *weights, Size first, Size end, float *scratch,
             legato::Team *some)
      : p(problem), s(problem), begin(first), rows(end - first), line(s.P + kPad), team(some) {
    z_line = s.l.blocks * s.P + kPad;
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
    return z + (t % steps_at_once(rows) * rows + r) * z_line;
  }

  float *kept(Size r, Size t) const {
    return p.gates != nullptr ? p.gates + (t * p.rows + begin + r) * s.stride : gates(r, t);
  }

  void project_inputs(Size start, Size end) const {
    const float *a[kBlock], *from[kBlock];
    float *to[kBlock];
    Size n = 0;
    for (Size r = 0; r < rows; ++r)
      for (Size t = start; t < end; ++t, ++n) {
        a[n] = p.x + ((begin + r) * p.steps + t) * p.features;
        from[n] = bias + s.l.w_first * s.P;
        to[n] = gates(r, t) + s.l.w_first * s.P;
        if (p.cell == Cell::gru) copy_row(gates(r, t), bias, s.P);
      }
    multiply(n, p.features, s.l.w_count * s.UV, a, W, from, to, false, team);
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
      reset_row(gates(r, t), kept(r, t), to, s.P);
      if (p.gates != nullptr) copy_row(kept(r, t) + 3 * s.P, to, s.P);
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
      multiply(rows, p.units, vectors, a, right, to, to, t % 2, team);
      right += p.units * vectors * V;
    }
  }

  void activate(Size r, Size t) const {
    const bool skip = skipped(p, begin + r, t);
    const float *row = gates(r, t);
    float *to = kept(r, t), *state = h + r * line;
    switch (p.cell) {
      case Cell::lstm:
        lstm_row(row, to, state, c + r * line, s.P, skip, p.gates != nullptr);
        break;
      case Cell::gru:
        gru_row(row, to, state, s.P, skip);
        break;
      case Cell::gru_reset_before:
        reset_before_row(row, to, state, s.P, skip);
        break;
      case Cell::simple_rnn:
        simple_row(row, to, state, s.P, skip);
        break;
    }
    if (p.hidden != nullptr)
      copy_row(p.hidden + ((begin + r) * p.steps + t) * p.units, state, p.units);
  }

  void all_steps() const {
    const Size block = steps_at_once(rows);
    for (Size start = 0; start < p.steps; start += block) {
      const Size end = start + block < p.steps ? start + block : p.steps;
      project_inputs(start, end);
      for (Size t = start; t < end; ++t) {
        project_states(t);
        for (Size r = 0; r < rows; ++r) activate(r, t);
      }
    }
    for (Size r = 0; r < rows; ++r) {
      copy_row(p.h_final + (begin + r) * p.units, h + r * line, p.units);
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
