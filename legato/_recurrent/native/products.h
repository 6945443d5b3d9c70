// Products, in tiles that are kept in registers.
//
// The right factor is packed into panels of 1..TV vectors, or 1..kWide for a single row: a panel holds
// its columns row by row. A tile of TR rows and a panel's columns stays in registers over the whole
// inner axis.
#pragma once

#include "vectors.h"

namespace {

constexpr int kWide = 4;
static_assert(TV <= kWide);

inline int panel_count(Size vectors, int most = TV) {
  return static_cast<int>((vectors + most - 1) / most);
}

struct Panel {
  Size first;   // vector it begins with
  int vectors;  // as even as they can be
};

inline Panel panel(Size vectors, int number, int most = TV) {
  const int panels = panel_count(vectors, most);
  const Size size = vectors / panels, longer = vectors % panels;
  const Size first = number * size + (number < longer ? number : longer);
  return {first, static_cast<int>(size + (number < longer))};
}

// c[r] = from[r] + a[r] B for R rows and the columns of P panels of N vectors.
template <int R, int N, int P>
inline __attribute__((always_inline)) void tile(Size inner, const float *const *a, const float *B,
                                                const float *const *from, float *const *c,
                                                Size column) {
  Vector sum[R][N * P];
  const float *left[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    left[r] = a[r];
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) sum[r][v] = load(from[r] + column + v * V);
  }
  const Size other = inner * N * V;  // from one panel to the next
  for (Size k = 0; k < inner; ++k) {
    Vector right[N * P];
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) right[v] = load(B + (v / N) * other + (v % N) * V);
    B += N * V;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float value = left[r][k];
#pragma GCC unroll 16
      for (int v = 0; v < N * P; ++v) sum[r][v] += value * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N * P; ++v) store(c[r] + column + v * V, sum[r][v]);
}

typedef void Tile(Size, const float *const *, const float *, const float *const *, float *const *,
                  Size);

template <int R, int N, int P>
__attribute__((noinline)) void tile_call(Size inner, const float *const *a, const float *B,
                                         const float *const *from, float *const *c, Size column) {
  tile<R, N, P>(inner, a, B, from, c, column);
}

template <int R>
inline Tile *tile_of(int vectors) {
  if constexpr (TV >= 4)
    if (vectors == 4) return tile_call<R, 4, 1>;
  if constexpr (TV >= 3)
    if (vectors == 3) return tile_call<R, 3, 1>;
  return vectors == 2 ? tile_call<R, 2, 1> : tile_call<R, 1, 1>;
}

template <int P>
inline Tile *panels_of(int vectors) {
  return vectors == 4   ? tile_call<1, 4, P>
         : vectors == 3 ? tile_call<1, 3, P>
         : vectors == 2 ? tile_call<1, 2, P>
                        : tile_call<1, 1, P>;
}

// Rows that a tile lacks repeat the last one: they compute and store the same.
inline void some_rows(Size rows, int vectors, Size inner, const float *const *a, const float *B,
                      const float *const *from, float *const *c, Size column) {
  const int needed = rows == 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : TR;
  const float *lefts[TR], *froms[TR];
  float *tos[TR];
  for (int r = 0; r < needed; ++r) {
    const Size at = r < rows ? r : rows - 1;
    lefts[r] = a[at], froms[r] = from[at], tos[r] = c[at];
  }
  Tile *call = needed == 1   ? tile_of<1>(vectors)
               : needed == 2 ? tile_of<2>(vectors)
               : needed == 4 ? tile_of<4>(vectors)
                             : tile_of<TR>(vectors);
  call(inner, lefts, B, froms, tos, column);
}

// Calls part(0), …, part(count - 1), on the threads of a team if there is one; or the last first.
// What a part captures by reference may be slow to read for other threads.
template <typename Part>
inline void share(legato::Team *team, Size count, const Part &part, bool backwards = false) {
  if (team == nullptr) {
    for (Size number = 0; number < count; ++number) part(backwards ? count - 1 - number : number);
    return;
  }
  const auto call = [](const void *context, Size number) {
    (*static_cast<const Part *>(context))(number);
  };
  static_assert(sizeof(Part) <= legato::kContext && __is_trivially_copyable(Part));
  team->share(team, count, backwards, call, &part, sizeof(Part));
}

// Panels that are multiplied together: one, or for a single row up to three that are equally wide,
// since with more sums at a time less is waited for each.
struct Group {
  int first, count;
};

inline int together(int panels) { return (panels + 2) / 3; }

inline int group_count(Size rows, Size vectors, int most) {
  const int panels = panel_count(vectors, most), longer = static_cast<int>(vectors % panels);
  return rows == 1 ? together(longer) + together(panels - longer) : panels;
}

inline Group group(Size rows, Size vectors, int number, int most) {
  if (rows > 1) return {number, 1};
  const int panels = panel_count(vectors, most), longer = static_cast<int>(vectors % panels);
  const bool wide = number < together(longer);
  const int first = wide ? 3 * number : longer + 3 * (number - together(longer));
  const int rest = (wide ? longer : panels) - first;
  return {first, rest < 3 ? rest : 3};
}

// Asks for numbers that other cores wrote: all their lines at once, for which the product would wait
// one after the other.
inline void fetch(const float *from, Size count) {
  for (Size i = 0; i < count; i += legato::kLine / sizeof(float)) __builtin_prefetch(from + i);
}

// A product c[r] = from[r] + a[r] B, r < rows; B packed, (inner, vectors * V).
struct Multiplication {
  Size rows, inner, vectors;
  const float *const *a;
  const float *B;
  const float *const *from;
  float *const *c;
  int most;  // vectors of a panel

  void row(const Group &some, const Panel &at) const {
    Tile *call = some.count == 3   ? panels_of<3>(at.vectors)
                 : some.count == 2 ? panels_of<2>(at.vectors)
                                   : panels_of<1>(at.vectors);
    call(inner, a, B + at.first * V * inner, from, c, at.first * V);
  }

  void compute(int number) const {
    const Group some = group(rows, vectors, number, most);
    const Panel at = panel(vectors, some.first, most);
    if (rows == 1) return row(some, at);
    const float *right = B + at.first * V * inner;
    Size r = 0;
    Tile *whole = tile_of<TR>(at.vectors);
    for (; r + TR <= rows; r += TR) whole(inner, a + r, right, from + r, c + r, at.first * V);
    if (r < rows) some_rows(rows - r, at.vectors, inner, a + r, right, from + r, c + r, at.first * V);
  }
};

// Computes such a product; B is in panels of `most` vectors. With B too large for the cache, a call
// that goes through it backwards finds what the last one left there.
void multiply(Size rows, Size inner, Size vectors, const float *const *a, const float *B,
              const float *const *from, float *const *c, bool backwards = false,
              int most = TV) {
  const Multiplication all{rows, inner, vectors, a, B, from, c, most};
  const int groups = group_count(rows, vectors, most);
  for (int n = 0; n < groups; ++n) all.compute(backwards ? groups - 1 - n : n);
}

// sum (TR, N vectors) += a^T B over `depth` rows of a (depth, TR) and B (depth, N vectors); or = for the
// first of several.
template <int N>
__attribute__((noinline)) void outer_tile(Size depth, const float *a, const float *B, float *sum,
                                          bool first) {
  Vector part[TR][N];
#pragma GCC unroll 16
  for (int r = 0; r < TR; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) part[r][v] = Vector{};
  for (Size k = 0; k < depth; ++k) {
    Vector right[N];
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) right[v] = load(B + v * V);
    B += N * V;
#pragma GCC unroll 16
    for (int r = 0; r < TR; ++r) {
      const float value = a[r];
#pragma GCC unroll 16
      for (int v = 0; v < N; ++v) part[r][v] += value * right[v];
    }
    a += TR;
  }
#pragma GCC unroll 16
  for (int r = 0; r < TR; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < N; ++v) {
      float *to = sum + (r * N + v) * V;
      store(to, first ? part[r][v] : load(to) + part[r][v]);
    }
}

void outer(int vectors, Size depth, const float *a, const float *B, float *sum, bool first) {
  if constexpr (TV >= 4)
    if (vectors == 4) return outer_tile<4>(depth, a, B, sum, first);
  if constexpr (TV >= 3)
    if (vectors == 3) return outer_tile<3>(depth, a, B, sum, first);
  return vectors == 2 ? outer_tile<2>(depth, a, B, sum, first)
                      : outer_tile<1>(depth, a, B, sum, first);
}

}  // namespace
