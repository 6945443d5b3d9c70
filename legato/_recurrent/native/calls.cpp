// The calls of XLA: chooses the kernel of the processor and divides the work over XLA's threads.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "recurrence.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

#define LEGATO_EXPORT extern "C" __attribute__((visibility("default")))

extern "C" const legato::Kernel *legato_kernel_baseline();
#if defined(__x86_64__)
extern "C" const legato::Kernel *legato_kernel_avx2();
extern "C" const legato::Kernel *legato_kernel_avx512();
#endif

namespace legato {
namespace {

// Kernels that this processor can run, the best first.
std::vector<const Kernel *> usable_kernels() {
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

std::atomic<const Kernel *> chosen{nullptr};

const Kernel &kernel() {
  const Kernel *now = chosen.load(std::memory_order_acquire);
  if (now == nullptr) {
    now = usable_kernels().front();
    chosen.store(now, std::memory_order_release);
  }
  return *now;
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

// Calls work(0), …, work(count - 1), on `threads` threads at most. Whoever has time takes the next
// piece; the caller takes part, and at the end waits only for pieces that others have begun.
struct Pieces {
  std::function<void(std::int64_t)> work;
  std::int64_t count;
  std::atomic<std::int64_t> next{0}, done{0};
  std::atomic<bool> failed{false};  // out of memory
  std::mutex mutex;
  std::condition_variable all_done;

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
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return done.load() == count; });
    if (failed) throw std::bad_alloc();
  }
};

void divide(ffi::ThreadPool &pool, std::int64_t threads, std::int64_t count,
            std::function<void(std::int64_t)> work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t piece = 0; piece < count; ++piece) work(piece);
    return;
  }
  auto pieces = std::make_shared<Pieces>();
  pieces->work = std::move(work);
  pieces->count = count;
  for (std::int64_t i = 1; i < std::min(threads, count); ++i)
    pool.Schedule([pieces] { pieces->take(); });
  pieces->take();
  pieces->wait();
}

constexpr double kSmall = 4e6;  // multiplications and additions that one thread does at once

std::int64_t threads_for(const Problem &p, const ffi::ThreadPool &pool, std::int64_t most) {
  const double gates = p.cell == Cell::lstm ? 4 : p.cell == Cell::simple_rnn ? 1 : 3;
  const double work = 2.0 * p.rows * p.steps * (p.features + p.units) * gates * p.units;
  if (work < kSmall) return 1;
  const std::int64_t threads = std::max<std::int64_t>(pool.num_threads(), 1);
  return most > 0 ? std::min(threads, most) : threads;
}

// Rows that are taken together: few on several threads, so that a busy one does not hold up all.
std::int64_t rows_at_once(const Problem &p, std::int64_t threads) {
  const std::int64_t most = threads == 1 ? kMostRows : 8;
  return std::max<std::int64_t>(std::min(p.rows, most), 1);
}

void run_forward(const Problem &p, ffi::ThreadPool &pool, std::int64_t most_threads) {
  const Kernel &k = kernel();
  const Floats weights(k.forward_weights_size(p));
  k.pack_forward_weights(p, weights.get());
  const std::int64_t threads = threads_for(p, pool, most_threads);
  const std::int64_t size = rows_at_once(p, threads);
  divide(pool, threads, (p.rows + size - 1) / size, [&](std::int64_t piece) {
    const std::int64_t begin = piece * size, end = std::min(p.rows, begin + size);
    const Floats scratch(k.forward_scratch_size(p, end - begin));
    k.forward(p, weights.get(), begin, end, scratch.get());
  });
}

std::vector<Columns> divide_columns(const Problem &p, const Kernel &k, std::int64_t threads) {
  std::int64_t vectors[8], all = 0;
  const int runs = k.runs(p, vectors);
  for (int run = 0; run < runs; ++run) all += vectors[run];
  const std::int64_t most =
      threads == 1 ? all : std::max<std::int64_t>(6, (all + 3 * threads - 1) / (3 * threads));
  std::vector<Columns> columns;
  for (int run = 0; run < runs; ++run)
    for (std::int64_t begin = 0; begin < vectors[run]; begin += most)
      columns.push_back({run, begin, std::min(vectors[run], begin + most)});
  return columns;
}

void run_backward(const Problem &p, ffi::ThreadPool &pool, std::int64_t most_threads) {
  const Kernel &k = kernel();
  const std::int64_t threads = threads_for(p, pool, most_threads);
  const std::int64_t size = rows_at_once(p, threads);
  {
    const Floats weights(k.backward_weights_size(p));
    k.pack_backward_weights(p, weights.get());
    divide(pool, threads, (p.rows + size - 1) / size, [&](std::int64_t piece) {
      const std::int64_t begin = piece * size, end = std::min(p.rows, begin + size);
      const Floats scratch(k.backward_scratch_size(p, end - begin));
      k.backward(p, weights.get(), begin, end, scratch.get());
    });
  }
  const std::vector<Columns> columns = divide_columns(p, k, threads);
  divide(pool, threads, static_cast<std::int64_t>(columns.size()), [&](std::int64_t piece) {
    const Floats scratch(k.weight_gradients_scratch_size(p, columns[piece]));
    k.weight_gradients(p, columns[piece], scratch.get());
  });
}

using F32 = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<F32>;

const float *given(const F32 &buffer) {
  return buffer.element_count() == 0 ? nullptr : buffer.typed_data();
}

Problem problem(std::int64_t cell, const F32 &x, const F32 &h0, const F32 &c0, const F32 &W,
                const F32 &U, const ffi::Buffer<ffi::PRED> &mask, const F32 &scale) {
  Problem p = {};
  p.cell = static_cast<Cell>(cell);
  p.rows = x.dimensions()[0], p.steps = x.dimensions()[1], p.features = x.dimensions()[2];
  p.units = h0.dimensions()[1];
  p.x = x.typed_data(), p.h0 = h0.typed_data(), p.c0 = c0.typed_data();
  p.W = W.typed_data(), p.U = U.typed_data();
  if (mask.element_count() != 0)
    p.mask = reinterpret_cast<const std::uint8_t *>(mask.typed_data());
  p.scale = given(scale);
  return p;
}

template <typename Run>
ffi::Error guarded(Run run) {
  try {
    run();
  } catch (const std::bad_alloc &) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "legato: no memory for a recurrent layer");
  }
  return ffi::Error::Success();
}

ffi::Error forward(ffi::ThreadPool pool, std::int64_t cell, std::int64_t threads, F32 x, F32 h0,
                   F32 c0, F32 W, F32 U, F32 b, ffi::Buffer<ffi::PRED> mask, F32 scale,
                   Result hidden, Result c_final, Result gates) {
  return guarded([&] {
    Problem p = problem(cell, x, h0, c0, W, U, mask, scale);
    p.b = b.typed_data();
    p.hidden = hidden->typed_data(), p.c_final = c_final->typed_data();
    if (gates->element_count() != 0) p.gates = gates->typed_data();
    run_forward(p, pool, threads);
  });
}

ffi::Error backward(ffi::ThreadPool pool, std::int64_t cell, std::int64_t threads, F32 gates,
                    F32 hidden, F32 x, F32 h0, F32 c0, F32 W, F32 U, ffi::Buffer<ffi::PRED> mask,
                    F32 scale, F32 d_hidden, F32 d_c, Result changed, Result dx, Result dh0,
                    Result dc0, Result dW, Result dU, Result db) {
  return guarded([&] {
    Problem p = problem(cell, x, h0, c0, W, U, mask, scale);
    p.gates = changed->typed_data();  // the same memory as `gates`, unless XLA made a copy
    if (gates.typed_data() != p.gates) std::memcpy(p.gates, gates.typed_data(), gates.size_bytes());
    p.hidden = hidden.typed_data();
    p.d_hidden = d_hidden.typed_data(), p.d_c = d_c.typed_data();
    if (dx->element_count() != 0) p.dx = dx->typed_data();
    p.dh0 = dh0->typed_data(), p.dc0 = dc0->typed_data();
    p.dW = dW->typed_data(), p.dU = dU->typed_data(), p.db = db->typed_data();
    run_backward(p, pool, threads);
  });
}

}  // namespace
}  // namespace legato

LEGATO_EXPORT const char *legato_sources() { return LEGATO_SOURCES; }

LEGATO_EXPORT const char *legato_chosen() { return legato::kernel().name; }

// Uses the kernel of that name, or the best without a name; null if the processor cannot run it.
LEGATO_EXPORT const char *legato_choose(const char *name) {
  for (const legato::Kernel *kernel : legato::usable_kernels())
    if (name == nullptr || std::strcmp(kernel->name, name) == 0) {
      legato::chosen.store(kernel, std::memory_order_release);
      return kernel->name;
    }
  return nullptr;
}

// The names of the kernels that the processor can run, the best first, with a space between.
LEGATO_EXPORT const char *legato_usable() {
  static const std::string names = [] {
    std::string all;
    for (const legato::Kernel *kernel : legato::usable_kernels())
      all += (all.empty() ? "" : " ") + std::string(kernel->name);
    return all;
  }();
  return names.c_str();
}

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(legato_forward, legato::forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<std::int64_t>("cell")
                                  .Attr<std::int64_t>("threads")
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<ffi::Buffer<ffi::PRED>>()
                                  .Arg<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(legato_backward, legato::backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<std::int64_t>("cell")
                                  .Attr<std::int64_t>("threads")
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<ffi::Buffer<ffi::PRED>>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Arg<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>());
#pragma GCC visibility pop
