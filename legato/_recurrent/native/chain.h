// Recurrent and dense layers one after the other, advanced step by step from states in packed rows.
#pragma once

#include "work.h"

namespace legato {

// One layer, as native_chain.py describes it: a cell, or (from kDense on) a dense layer or an
// activation alone. W, U and b are read only while the chain is made.
struct Operation {
  std::int64_t kind, activation, inputs, units;
  std::int64_t state;  // where a cell's states begin in a row: h, c of lstm, then the fresh flag
  const float *W, *U, *b;  // of no bias, b is null
};

constexpr std::int64_t kDense = 4, kActivation = 5;

// Steps of several sequences. A row is the carried states, `width` floats, then the last answer.
struct Steps {
  std::int64_t rows, steps;
  const float *x;              // (rows, steps, inputs of the first operation)
  const std::int64_t *counts;  // (rows,) steps of each; null: all
  const std::uint8_t *starts;  // (rows, steps) whether a row is reset before; null: never
  float *states;               // (rows, width and answer), changed in place
  float *emitted;              // (steps, rows, floats of a row from `emit_from` on); null: nothing
  std::int64_t emit_from;
};

// Steps of one sequence, each of which is chosen from the answer to the one before.
struct Generation {
  std::int64_t steps;
  float *states;           // (width and answer)
  const float *table;      // (classes, inputs): inputs for each class; null: the answer is the input
  std::int32_t *classes;   // (steps,), with a table
  float *answers;          // (steps, answer), without
};

class Chain {
 public:
  Chain(const Kernel &kernel, const Operation *operations, std::int64_t count, std::int64_t width)
      : kernel_(kernel), layers_(operations, operations + count), width_(width) {
    inputs_ = layers_.front().inputs, answer_ = layers_.back().units;
    std::size_t weights = 0;
    widest_ = inputs_;
    for (const Operation &each : layers_) {
      begins_.push_back(weights);
      widest_ = std::max(widest_, each.units);
      weights += (weights_size(each) + 15) / 16 * 16;
    }
    weights_ = std::make_unique<Floats>(weights + 1);
    for (std::size_t i = 0; i < layers_.size(); ++i) pack(layers_[i], weights_->get() + begins_[i]);
  }

  void run(const Steps &s) const {
    const std::int64_t at_once = std::min(s.rows, kMostRows);
    const Work work(*this, at_once);
    for (std::int64_t begin = 0; begin < s.rows; begin += at_once)
      run_rows(s, begin, std::min(s.rows, begin + at_once), work);
  }

  void generate(const Generation &g) const {
    const Work work(*this, 1);
    float *answer = g.states + width_;
    for (std::int64_t t = 0; t < g.steps; ++t) {
      const float *x = g.answers + t * answer_;
      if (g.table != nullptr) {
        g.classes[t] = static_cast<std::int32_t>(largest(answer, answer_));
        x = g.table + g.classes[t] * inputs_;
      } else {
        std::copy(answer, answer + answer_, g.answers + t * answer_);
      }
      step(1, &x, &g.states, work);
    }
  }

 private:
  // Memory of a call: values between layers, states, and scratch memory of the layers.
  struct Work {
    Work(const Chain &chain, std::int64_t rows)
        : line((rows * chain.widest_ + 15) / 16 * 16), floats(5 * line + chain.scratch_size(rows)) {}
    float *part(int number) const { return floats.get() + number * line; }
    std::int64_t line;
    Floats floats;
  };

  static Problem problem(const Operation &of, std::int64_t rows) {
    Problem p = {};
    p.cell = static_cast<Cell>(of.kind);
    p.rows = rows, p.steps = 1, p.features = of.inputs, p.units = of.units;
    p.W = of.W, p.U = of.U, p.b = of.b;
    return p;
  }

  std::size_t weights_size(const Operation &of) const {
    if (of.kind == kActivation) return 0;
    if (of.kind == kDense) return kernel_.dense_weights_size(of.inputs, of.units);
    return kernel_.forward_weights_size(problem(of, 1));
  }

  void pack(const Operation &of, float *to) const {
    if (of.kind == kActivation) return;
    if (of.kind == kDense) return kernel_.pack_dense_weights(of.inputs, of.units, of.W, of.b, to);
    const std::vector<float> no_bias(8 * of.units);  // as many as a cell can have
    Problem p = problem(of, 1);
    if (p.b == nullptr) p.b = no_bias.data();
    kernel_.pack_forward_weights(p, to, nullptr);
  }

  std::size_t scratch_size(std::int64_t rows) const {
    std::size_t most = 0;
    for (const Operation &each : layers_)
      most = std::max(most, each.kind >= kDense ? kernel_.dense_scratch_size(rows, each.units)
                                                : kernel_.forward_scratch_size(problem(each, rows), rows));
    return most;
  }

  void run_rows(const Steps &s, std::int64_t begin, std::int64_t end, const Work &work) const {
    const std::int64_t row = width_ + answer_;
    const float *x[kMostRows];
    float *states[kMostRows];
    for (std::int64_t t = 0; t < s.steps; ++t) {
      std::int64_t active = 0;
      for (std::int64_t r = begin; r < end; ++r) {
        if (s.counts != nullptr && t >= s.counts[r]) continue;
        states[active] = s.states + r * row;
        x[active] = s.x + (r * s.steps + t) * inputs_;
        if (s.starts != nullptr && s.starts[r * s.steps + t]) reset(states[active]);
        ++active;
      }
      if (active > 0) step(active, x, states, work);
      if (s.emitted == nullptr) continue;
      const std::int64_t size = row - s.emit_from;
      for (std::int64_t r = begin; r < end; ++r) {
        const float *from = s.states + r * row + s.emit_from;
        std::copy(from, from + size, s.emitted + (t * s.rows + r) * size);
      }
    }
  }

  static float &fresh(const Operation &of, float *states) {
    return states[of.state + (static_cast<Cell>(of.kind) == Cell::lstm ? 2 : 1) * of.units];
  }

  void reset(float *states) const {
    for (const Operation &each : layers_)
      if (each.kind < kDense) fresh(each, states) = 1;
  }

  // One step of some rows: x[r] its inputs, states[r] its row.
  void step(std::int64_t rows, const float *const *x, float *const *states, const Work &work) const {
    float *now = work.part(0), *next = work.part(1), *scratch = work.part(5);
    for (std::int64_t r = 0; r < rows; ++r) std::copy(x[r], x[r] + inputs_, now + r * inputs_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Operation &each = layers_[i];
      const float *weights = weights_->get() + begins_[i];
      if (each.kind < kDense)
        recur(each, weights, rows, now, next, states, work);
      else
        kernel_.dense(rows, each.inputs, each.units, each.kind == kDense ? weights : nullptr,
                      each.activation, now, next, scratch);
      std::swap(now, next);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy(now + r * answer_, now + (r + 1) * answer_, states[r] + width_);
  }

  void recur(const Operation &of, const float *weights, std::int64_t rows, const float *x,
             float *hidden, float *const *states, const Work &work) const {
    const bool has_c = static_cast<Cell>(of.kind) == Cell::lstm;
    float *h = work.part(2), *c = work.part(3), *c_final = work.part(4);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float *from = states[r] + of.state;
      if (fresh(of, states[r]) != 0) {
        std::fill(h + r * of.units, h + (r + 1) * of.units, 0.0f);
        std::fill(c + r * of.units, c + (r + 1) * of.units, 0.0f);
        continue;
      }
      std::copy(from, from + of.units, h + r * of.units);
      if (has_c) std::copy(from + of.units, from + 2 * of.units, c + r * of.units);
    }
    Problem p = problem(of, rows);
    p.x = x, p.h0 = h, p.c0 = c, p.h_final = hidden, p.c_final = c_final;
    kernel_.forward(p, weights, 0, rows, work.part(5), nullptr);
    for (std::int64_t r = 0; r < rows; ++r) {
      float *to = states[r] + of.state;
      std::copy(hidden + r * of.units, hidden + (r + 1) * of.units, to);
      if (has_c)
        std::copy(c_final + r * of.units, c_final + (r + 1) * of.units, to + of.units);
      fresh(of, states[r]) = 0;
    }
  }

  // The first index of the largest number, or of a NaN, as NumPy and JAX have it.
  static std::int64_t largest(const float *of, std::int64_t count) {
    std::int64_t best = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (of[i] != of[i]) return i;
      if (of[i] > of[best]) best = i;
    }
    return best;
  }

  const Kernel &kernel_;
  std::vector<Operation> layers_;
  std::vector<std::size_t> begins_;  // of each layer's weights
  std::unique_ptr<Floats> weights_;
  std::int64_t width_, inputs_, answer_, widest_;
};

}  // namespace legato
