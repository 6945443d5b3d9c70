// Divides the work of a call over threads. `Pool` is XLA's, or another one in tests: `Schedule(f)`
// calls f() on one of its threads, some time.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "recurrence.h"
#include "team.h"

extern "C" const legato::Kernel *legato_kernel_baseline();
#if defined(__x86_64__)
extern "C" const legato::Kernel *legato_kernel_avx2();
extern "C" const legato::Kernel *legato_kernel_avx512();
#endif

namespace legato {

// Kernels that this processor can run, the best first.
inline std::vector<const Kernel *> usable_kernels() {
  std::vector<const Kernel *> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f")) kernels.push_back(legato_kernel_avx512());
  if (avx2) kernels.push_back(legato_kernel_avx2());
#endif
  kernels.push_back(legato_kernel_baseline());
  return kernels;
}

// Scratch memory, on a cache line.
class Floats {
 public:
  explicit Floats(std::size_t count)
      : floats_(static_cast<float *>(
            std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64 + 64))) {
    if (floats_ == nullptr) throw std::bad_alloc();
  }
  ~Floats() { std::free(floats_); }
  Floats(const Floats &) = delete;
  Floats &operator=(const Floats &) = delete;
  float *get() const { return floats_; }

 private:
  float *floats_;
};

// Calls work(0), …, work(count - 1), on `threads` threads at most. The caller prepares the pieces while
// the other threads wake up. Then whoever has time takes the next piece; the caller takes part, and at
// the end waits only for pieces that others have begun.
struct Pieces {
  std::function<void(std::int64_t)> work;
  std::int64_t count;
  std::atomic<bool> prepared{false};
  std::atomic<std::int64_t> next{0}, done{0};
  std::atomic<bool> failed{false};  // out of memory
  std::mutex mutex;
  std::condition_variable all_done;

  // What the other threads do.
  void help() {
    Patience spin;
    while (!prepared.load(std::memory_order_acquire))
      if (!spin.wait(std::chrono::microseconds(20))) std::this_thread::yield();
    take();
  }

  void take() {
    std::int64_t piece, finished = 0;
    while ((piece = next.fetch_add(1)) < count) {
      try {
        work(piece);
      } catch (const std::bad_alloc &) {
        failed = true;
      }
      ++finished;
    }
    if (finished == 0 || done.fetch_add(finished) + finished < count) return;
    std::lock_guard<std::mutex> lock(mutex);
    all_done.notify_all();
  }

  void wait() {
    Patience spin;  // to be woken up takes as long as threads differ by
    while (done.load(std::memory_order_acquire) < count)
      if (!spin.wait(std::chrono::microseconds(100))) break;
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return done.load() == count; });
    if (failed) throw std::bad_alloc();
  }
};

template <typename Pool, typename Prepare>
void divide(Pool &pool, std::int64_t threads, std::int64_t count, Prepare prepare,
            std::function<void(std::int64_t)> work) {
  if (threads <= 1 || count <= 1) {
    prepare();
    for (std::int64_t piece = 0; piece < count; ++piece) work(piece);
    return;
  }
  auto pieces = std::make_shared<Pieces>();
  pieces->work = std::move(work);
  pieces->count = count;
  for (std::int64_t i = 1; i < std::min(threads, count); ++i)
    pool.Schedule([pieces] { pieces->help(); });
  prepare();
  pieces->prepared.store(true, std::memory_order_release);
  pieces->take();
  pieces->wait();
}

constexpr double kSmall = 4e6;  // multiplications and additions that one thread does at once

inline std::int64_t threads_for(const Problem &p, std::int64_t threads) {
  const double gates = p.cell == Cell::lstm ? 4 : p.cell == Cell::simple_rnn ? 1 : 3;
  const double work = 2.0 * p.rows * p.steps * (p.features + p.units) * gates * p.units;
  return work < kSmall ? 1 : threads;
}

// Rows that are taken together: few on several threads, so that a busy one does not hold up all, but
// more if each thread has them, since the weights are read for all at once.
inline std::int64_t rows_at_once(const Problem &p, std::int64_t threads) {
  const std::int64_t share = (p.rows + threads - 1) / threads;
  const std::int64_t most = threads == 1 ? kMostRows : std::clamp<std::int64_t>(share, 8, 16);
  return std::max<std::int64_t>(std::min(p.rows, most), 1);
}

constexpr double kShared = 3e4;  // multiplications and additions of a step for each of a team

// Threads that help with rows that cannot be divided.
inline int helpers_for(const Problem &p, std::int64_t threads) {
  if (p.rows > rows_at_once(p, threads)) return 0;
  const double gates = p.cell == Cell::lstm ? 4 : p.cell == Cell::simple_rnn ? 1 : 3;
  const double most = std::min(1e3, p.rows * gates * p.units * p.units / kShared);
  return static_cast<int>(std::min<std::int64_t>(threads, static_cast<std::int64_t>(most)) - 1);
}

template <typename Pool>
void run_forward(const Kernel &k, Problem p, Pool &pool, std::int64_t most_threads) {
  const std::int64_t threads = threads_for(p, most_threads);
  const std::int64_t size = rows_at_once(p, threads);
  const int helpers = helpers_for(p, threads);
  p.shared = helpers > 0;
  const CallTeam team(pool, helpers);
  const Floats weights(k.forward_weights_size(p));
  const auto pack = [&] { k.pack_forward_weights(p, weights.get(), team.get()); };
  divide(pool, threads, (p.rows + size - 1) / size, pack, [&](std::int64_t piece) {
    const std::int64_t begin = piece * size, end = std::min(p.rows, begin + size);
    const Floats scratch(k.forward_scratch_size(p, end - begin));
    k.forward(p, weights.get(), begin, end, scratch.get(), team.get());
  });
}

inline std::vector<Columns> divide_columns(const Problem &p, const Kernel &k, std::int64_t threads) {
  std::int64_t vectors[8], all = 0;
  const int runs = k.runs(p, vectors);
  for (int run = 0; run < runs; ++run) all += vectors[run];
  // The left factor is packed for each piece: one piece a thread, unless runs take different times.
  const std::int64_t pieces = runs == 1 ? threads : 2 * threads;
  const std::int64_t most = std::max<std::int64_t>(8, (all + pieces - 1) / pieces);
  std::vector<Columns> columns;
  for (int run = 0; run < runs; ++run)
    for (std::int64_t begin = 0; begin < vectors[run]; begin += most)
      columns.push_back({run, begin, std::min(vectors[run], begin + most)});
  return columns;
}

template <typename Pool>
void run_backward(const Kernel &k, Problem p, Pool &pool, std::int64_t most_threads) {
  const std::int64_t threads = threads_for(p, most_threads);
  const std::int64_t size = rows_at_once(p, threads);
  const int helpers = helpers_for(p, threads);
  p.shared = helpers > 0;
  {
    const CallTeam team(pool, helpers);
    const Floats weights(k.backward_weights_size(p));
    const auto pack = [&] { k.pack_backward_weights(p, weights.get(), team.get()); };
    divide(pool, threads, (p.rows + size - 1) / size, pack, [&](std::int64_t piece) {
      const std::int64_t begin = piece * size, end = std::min(p.rows, begin + size);
      const Floats scratch(k.backward_scratch_size(p, end - begin));
      k.backward(p, weights.get(), begin, end, scratch.get(), team.get());
    });
  }
  const std::vector<Columns> columns = divide_columns(p, k, threads);
  const auto nothing = [] {};
  divide(pool, threads, static_cast<std::int64_t>(columns.size()), nothing, [&](std::int64_t piece) {
    const Floats scratch(k.weight_gradients_scratch_size(p, columns[piece]));
    k.weight_gradients(p, columns[piece], scratch.get());
  });
}

}  // namespace legato
