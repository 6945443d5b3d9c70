// The backward pass of some rows: dz at every step, dx, dh0 and dc0.
#pragma once

#include "forward.h"

namespace {

std::size_t backward_scratch_size(const Problem &p, Size rows) {
  const Sizes s(p);
  return rows * (s.P + kPad) * 3 + kBlock * s.FV * V;
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
  float *dh, *dc, *part, *dx;  // (rows, line) each; dx (kBlock, padded features)
  const float *UT, *WT;
  legato::Team *team;

  BackwardRun(const Problem &problem, const float *weights, Size first, Size end, float *scratch,
              legato::Team *some)
      : p(problem), s(problem), begin(first), rows(end - first), line(s.P + kPad), team(some) {
    dh = scratch, dc = dh + rows * line, part = dc + rows * line, dx = part + rows * line;
    memset(scratch, 0, 3 * rows * line * sizeof(float));
    UT = weights;
    WT = UT + s.l.u_count * s.P * s.UV * V;
    for (Size r = 0; r < rows; ++r) {
      copy_row(dh + r * line, p.d_h + (begin + r) * p.units, p.units);
      if (p.cell == Cell::lstm) copy_row(dc + r * line, p.d_c + (begin + r) * p.units, p.units);
    }
  }

  float *gates(Size r, Size t) const { return p.gates + (t * p.rows + begin + r) * s.stride; }

  const float *hidden_before(Size r, Size t) const {
    if (t == 0) return p.h0 + (begin + r) * p.units;
    return p.hidden + ((begin + r) * p.steps + t - 1) * p.units;
  }

  void activate(Size r, Size t) const {
    float *z = gates(r, t), *d = dh + r * line;
    if (p.d_hidden != nullptr) {
      const float *given = p.d_hidden + ((begin + r) * p.steps + t) * p.units;
      for (Size u = 0; u < p.units; ++u) d[u] += given[u];
    }
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
      multiply(rows, inner, s.UV, a, right, from, to, t % 2, team);
      if (!plain) through(product, t);
    }
  }

  void propagate_inputs(Size start, Size end) const {
    const float *a[kBlock], *from[kBlock];
    float *to[kBlock];
    const Size width = s.FV * V;
    Size n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n) {
        a[n] = gates(r, t) + s.l.w_first * s.P;
        to[n] = dx + n * width;
        from[n] = to[n];
      }
    memset(dx, 0, n * width * sizeof(float));
    multiply(n, s.l.w_count * s.P, s.FV, a, WT, from, to, false, team);
    n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n)
        copy_row(p.dx + ((begin + r) * p.steps + t) * p.features, to[n], p.features);
  }

  void all_steps() const {
    const Size block = steps_at_once(rows);
    for (Size end = p.steps; end > 0;) {
      const Size start = end > block ? end - block : 0;
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

void backward(const Problem &p, const float *weights, Size begin, Size end, float *scratch,
              legato::Team *team) {
  BackwardRun(p, weights, begin, end, scratch, team).all_steps();
}

}  // namespace
