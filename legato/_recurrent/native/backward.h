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
// the part of that with respect to the old state that does not go through U. They take the units of a
// slice, of which those from `units` on are padding; P is from one block to the next.
void lstm_row_back(float *z, float *dh, float *dc, const float *before, Size width, Size units,
                   Size P) {
  for (Size u = 0; u < width; u += V) {
    const Size n = units - u;
    const Vector i = load(z + u), f = load(z + P + u), g = load(z + 2 * P + u);
    const Vector o = load(z + 3 * P + u), bent = tanh_of(load(z + 4 * P + u));
    const Vector d = load(dh + u), d_c = load(dc + u) + d * o * tanh_slope(bent);
    store(z + u, keep_first(d_c * g * sigmoid_slope(i), n));
    store(z + P + u, keep_first(d_c * load(before + u, n) * sigmoid_slope(f), n));
    store(z + 2 * P + u, keep_first(d_c * i * tanh_slope(g), n));
    store(z + 3 * P + u, keep_first(d * bent * sigmoid_slope(o), n));
    store(dc + u, d_c * f);
    store(dh + u, Vector{});
  }
}

void gru_row_back(float *z, float *dh, const float *before, Size width, Size units, Size P) {
  for (Size u = 0; u < width; u += V) {
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

void reset_before_row_back(float *z, float *dh, const float *before, Size width, Size units, Size P) {
  for (Size u = 0; u < width; u += V) {
    const Size n = units - u;
    const Vector update = load(z + u), candidate = load(z + 2 * P + u), d = load(dh + u);
    const Vector d_update = d * (load(before + u, n) - candidate) * sigmoid_slope(update);
    store(z + u, keep_first(d_update, n));
    store(z + 2 * P + u, keep_first(d * (1.0f - update) * tanh_slope(candidate), n));
    store(dh + u, d * update);
  }
}

void simple_row_back(float *z, float *dh, Size width, Size units) {
  for (Size u = 0; u < width; u += V) {
    store(z + u, keep_first(load(dh + u) * tanh_slope(load(z + u)), units - u));
    store(dh + u, Vector{});
  }
}

// Threads of a team read it: no other variables lie on its cache lines.
struct alignas(legato::kLine) BackwardRun {
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

  void activate(Size t, Size slice) const {
    const Size unit = s.backward.first(slice) * V, width = s.backward.vectors(slice) * V;
    const Size units = p.units - unit < width ? p.units - unit : width;
    for (Size r = 0; r < rows; ++r) {
      float *z = gates(r, t) + unit, *d = dh + r * line + unit;
      if (p.d_hidden != nullptr) {
        const float *given = p.d_hidden + ((begin + r) * p.steps + t) * p.units + unit;
        for (Size u = 0; u < units; ++u) d[u] += given[u];
      }
      if (skipped(p, begin + r, t)) {
        for (int block = 0; block < s.l.blocks; ++block)
          memset(z + block * s.P, 0, width * sizeof(float));
        continue;
      }
      switch (p.cell) {
        case Cell::lstm: {
          const float *c =
              t == 0 ? p.c0 + (begin + r) * p.units : gates(r, t - 1) + 4 * s.P;
          lstm_row_back(z, d, dc + r * line + unit, c + unit, width, units, s.P);
          break;
        }
        case Cell::gru:
          gru_row_back(z, d, hidden_before(r, t) + unit, width, units, s.P);
          break;
        case Cell::gru_reset_before:
          reset_before_row_back(z, d, hidden_before(r, t) + unit, width, units, s.P);
          break;
        case Cell::simple_rnn:
          simple_row_back(z, d, width, units);
          break;
      }
    }
  }

  // dh += the scale times dz U^T, through r as well where the product had r * h.
  void through(const Product &product, Size t, Size slice) const {
    const Size first = s.backward.first(slice) * V, end = first + s.backward.vectors(slice) * V;
    const Size last = end < p.units ? end : p.units;
    for (Size r = 0; r < rows; ++r) {
      const Size gate = s.l.gate[product.first];
      const float *scale = p.scale + (gate * p.rows + begin + r) * p.units;
      const float *before = hidden_before(r, t);
      float *d = dh + r * line, *z = gates(r, t);
      const float *more = part + r * line;
      const bool skip = skipped(p, begin + r, t);
      for (Size u = first; u < last; ++u) {
        float value = p.scale != nullptr ? more[u] * scale[u] : more[u];
        if (product.reset && !skip) {
          const float reset = z[s.P + u];
          z[s.P + u] = value * before[u] * reset * (1.0f - reset);
          value *= reset;
        }
        d[u] += value;
      }
      if (product.reset && !skip)
        for (Size u = last; u < end; ++u) z[s.P + u] = 0.0f;
    }
  }

  void propagate_states(Size t, int i, Size slice) const {
    const Product &product = s.product[i];
    const bool plain = p.scale == nullptr && !product.reset;
    const Size first = s.backward.first(slice) * V, width = s.backward.vectors(slice) * V;
    const float *right = UT + first * s.l.u_count * s.P;
    for (int before = 0; before < i; ++before) right += s.product[before].count * s.P * width;
    const float *a[legato::kMostRows], *from[legato::kMostRows];
    float *to[legato::kMostRows];
    for (Size r = 0; r < rows; ++r) {
      a[r] = gates(r, t) + product.first * s.P;
      if (p.shared) fetch(a[r], product.count * s.P);
      to[r] = (plain ? dh : part) + r * line + first;
      from[r] = to[r];
      if (!plain) memset(to[r], 0, width * sizeof(float));
    }
    multiply(rows, product.count * s.P, width / V, a, right, from, to, t % 2, s.panel);
    if (!plain) through(product, t, slice);
  }

  void propagate_inputs(Size start, Size end, Size slice) const {
    const Size first = s.inputs.first(slice) * V, width = s.inputs.vectors(slice) * V;
    const float *a[kBlock], *from[kBlock];
    float *to[kBlock];
    Size n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n) {
        a[n] = gates(r, t) + s.l.w_first * s.P;
        to[n] = dx + n * s.FV * V + first;
        from[n] = to[n];
        memset(to[n], 0, width * sizeof(float));
      }
    const Size inner = s.l.w_count * s.P;
    multiply(n, inner, width / V, a, WT + first * inner, from, to);
    const Size count = p.features - first < width ? p.features - first : width;
    n = 0;
    for (Size t = start; t < end; ++t)
      for (Size r = 0; r < rows; ++r, ++n)
        copy_row(p.dx + ((begin + r) * p.steps + t) * p.features + first, to[n],
                 count);
  }

  // The products of step t with U, the last one first, since the reset gate's derivative needs it;
  // then a slice of units goes on with the activations of the step before.
  void step(Size t) const {
    for (int i = s.count - 1; i >= 0; --i) {
      const auto part = [this, t, i](Size slice) {
        propagate_states(t, i, slice);
        if (i == 0 && t > 0) activate(t - 1, slice);
      };
      share(team, s.backward.count(), part, t % 2);
    }
  }

  void all_steps() const {
    const Size block = steps_at_once(rows);
    if (p.steps > 0)
      share(team, s.backward.count(), [this](Size slice) { activate(p.steps - 1, slice); });
    for (Size end = p.steps; end > 0;) {
      const Size start = end > block ? end - block : 0;
      for (Size t = end - 1; t >= start; --t) step(t);
      if (p.dx != nullptr)
        share(team, s.inputs.count(),
              [this, start, end](Size slice) { propagate_inputs(start, end, slice); });
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
