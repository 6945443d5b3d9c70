// A dense layer on some rows, and the activations of such layers.
#pragma once

#include "layout.h"

namespace {

enum Activation : Size { kLinear = 0, kTanh = 1, kSigmoid = 2, kRelu = 3, kSoftmax = 4 };

constexpr int kFirst[] = {0};  // `pack_slice` takes blocks of columns, and a dense layer is one block

std::size_t dense_weights_size(Size inputs, Size units) { return (inputs + 1) * padded(units); }

// The kernel (inputs, units), then the bias, which may be null.
void pack_dense_weights(Size inputs, Size units, const float *W, const float *b, float *to) {
  const Size P = padded(units);
  pack_slice(W, inputs, units, units, 0, P / V, kFirst, 1, TV, to);
  memset(to + inputs * P, 0, P * sizeof(float));
  if (b != nullptr) memcpy(to + inputs * P, b, units * sizeof(float));
}

std::size_t dense_scratch_size(Size rows, Size units) { return rows * padded(units); }

// Numbers after the last unit, up to a whole vector, are ignored.
void softmax(float *row, Size units) {
  float most = row[0], sum = 0;
  for (Size u = 1; u < units; ++u) most = row[u] > most ? row[u] : most;
  Vector sums = {};
  for (Size u = 0; u < units; u += V) {
    const Exponential e = exp_of(load(row + u) - most);
    const Vector value = keep_first(e.scale + e.scale * e.rest, units - u);
    store(row + u, value);
    sums += value;
  }
  for (int lane = 0; lane < V; ++lane) sum += sums[lane];
  for (Size u = 0; u < units; u += V) store(row + u, load(row + u) / sum);
}

void activate(Size activation, float *row, Size units) {
  if (activation == kLinear) return;
  if (activation == kSoftmax) return softmax(row, units);
  for (Size u = 0; u < units; u += V) {
    const Vector x = load(row + u);
    store(row + u, activation == kTanh      ? tanh_of(x)
                   : activation == kSigmoid ? sigmoid(x)
                                            : choose(x < 0.0f, Vector{}, x));
  }
}

// out = activation(x W + b), x (rows, inputs), out (rows, units); without weights activation(x).
void dense(Size rows, Size inputs, Size units, const float *weights, Size activation,
           const float *x, float *out, float *scratch) {
  const Size P = padded(units);
  const float *left[legato::kMostRows], *from[legato::kMostRows];
  float *to[legato::kMostRows];
  for (Size r = 0; r < rows; ++r) {
    left[r] = x + r * inputs, to[r] = scratch + r * P;
    if (weights != nullptr)
      from[r] = weights + inputs * P;
    else
      memcpy(to[r], left[r], units * sizeof(float));
  }
  if (weights != nullptr) multiply(rows, inputs, P / V, left, weights, from, to);
  for (Size r = 0; r < rows; ++r) {
    activate(activation, to[r], units);
    memcpy(out + r * units, to[r], units * sizeof(float));
  }
}

}  // namespace
