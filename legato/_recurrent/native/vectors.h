// Vectors of the instruction set, and activations on them, accurate to a few units in the last place.
#pragma once

#include <string.h>

#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "recurrence.h"

namespace {

using Size = std::int64_t;

constexpr int V = LEGATO_VECTOR;             // floats in a vector
constexpr int TR = LEGATO_TILE_ROWS;         // rows of a tile
constexpr int TV = LEGATO_TILE_VECTORS;      // vectors in a row of a tile
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

inline Vector choose(Bits where, Vector yes, Vector no) { return where ? yes : no; }

inline Vector at_least(float least, Vector x) {  // NaN stays
#if defined(__AVX512F__)
  return _mm512_max_ps(all(least), x);
#elif defined(__AVX__)
  return _mm256_max_ps(all(least), x);
#elif defined(__SSE__)
  return _mm_max_ps(all(least), x);
#else
  return choose(x < least, all(least), x);
#endif
}

// exp(x) = scale + scale * rest for x <= 0, with rest = exp(r) - 1 of a small r: minimax-like
// polynomial.
struct Exponential {
  Vector scale, rest;
};

inline Exponential exp_of(Vector x) {
  x = at_least(-88.1f, x);           // where 2**n becomes zero
  const float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds to an integer
  const Vector shifted = all(magic) + x * 1.44269504f;
  const Vector n = shifted - magic;
  const Vector r = (x + n * -0.693145752f) + n * -1.42860677e-6f;
  Vector poly = all(0.0013934544986113906f);
  poly = poly * r + 0.008363776840269566f;
  poly = poly * r + 0.04166645556688309f;
  poly = poly * r + 0.16666573286056519f;
  poly = poly * r + 0.5f;
  poly = poly * r + 1.0f;
  const Bits exponent = ((Bits)shifted + 127) << 23;  // the low bits of `shifted` hold n
  return {(Vector)exponent, poly * r};
}

constexpr std::int32_t kSign = (std::int32_t)0x80000000;

inline Vector minus_magnitude(Vector x) { return (Vector)((Bits)x | kSign); }

inline Vector sigmoid(Vector x) {
  const Exponential e = exp_of(minus_magnitude(x));
  const Vector tail = e.scale + e.scale * e.rest;
  return choose(x < 0.0f, tail, all(1.0f)) / (1.0f + tail);
}

inline Vector tanh_of(Vector x) {
  const Exponential e = exp_of(minus_magnitude(x) * 2.0f);
  const Vector rest = (1.0f - e.scale) - e.scale * e.rest;  // 1 - exp(-2|x|)
  const Vector value = rest / (2.0f - rest);
  return (Vector)((Bits)value | ((Bits)x & kSign));
}

}  // namespace
