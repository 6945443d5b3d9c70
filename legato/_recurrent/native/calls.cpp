// The calls of XLA: takes their buffers apart, with the kernel that is best on the processor.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>

#include "chain.h"
#include "process_sums.h"
#include "work.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

#define LEGATO_EXPORT extern "C" __attribute__((visibility("default")))

namespace legato {
namespace {

std::atomic<const Kernel *> chosen{nullptr};

const Kernel &kernel() {
  const Kernel *now = chosen.load(std::memory_order_acquire);
  if (now == nullptr) {
    now = usable_kernels().front();
    chosen.store(now, std::memory_order_release);
  }
  return *now;
}

// The threads of XLA, `most` of them at most unless it is 0.
std::int64_t thread_count(const ffi::ThreadPool &pool, std::int64_t most) {
  const std::int64_t threads = std::max<std::int64_t>(pool.num_threads(), 1);
  return most > 0 ? std::min(threads, most) : threads;
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
                   Result hidden, Result h_final, Result c_final, Result gates) {
  return guarded([&] {
    Problem p = problem(cell, x, h0, c0, W, U, mask, scale);
    p.b = b.typed_data();
    if (hidden->element_count() != 0) p.hidden = hidden->typed_data();
    p.h_final = h_final->typed_data(), p.c_final = c_final->typed_data();
    if (gates->element_count() != 0) p.gates = gates->typed_data();
    run_forward(kernel(), p, pool, thread_count(pool, threads));
  });
}

ffi::Error backward(ffi::ThreadPool pool, std::int64_t cell, std::int64_t threads, F32 gates,
                    F32 hidden, F32 x, F32 h0, F32 c0, F32 W, F32 U, ffi::Buffer<ffi::PRED> mask,
                    F32 scale, F32 d_hidden, F32 d_h, F32 d_c, Result changed, Result dx, Result dh0,
                    Result dc0, Result dW, Result dU, Result db) {
  return guarded([&] {
    Problem p = problem(cell, x, h0, c0, W, U, mask, scale);
    p.gates = changed->typed_data();  // the same memory as `gates`, unless XLA made a copy
    if (gates.typed_data() != p.gates) std::memcpy(p.gates, gates.typed_data(), gates.size_bytes());
    p.hidden = hidden.typed_data();
    p.d_hidden = given(d_hidden), p.d_h = d_h.typed_data(), p.d_c = d_c.typed_data();
    if (dx->element_count() != 0) p.dx = dx->typed_data();
    p.dh0 = dh0->typed_data(), p.dc0 = dc0->typed_data();
    p.dW = dW->typed_data(), p.dU = dU->typed_data(), p.db = db->typed_data();
    run_backward(kernel(), p, pool, thread_count(pool, threads));
  });
}

std::unique_ptr<ProcessSums> process_sums;

// The sums of all arguments over the processes; they come in the same order in all.
ffi::Error sum(ffi::RemainingArgs given, ffi::RemainingRets totals) {
  if (process_sums == nullptr)
    return ffi::Error(ffi::ErrorCode::kFailedPrecondition, "legato: no memory is shared");
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto own = given.get<ffi::AnyBuffer>(i);
    auto total = totals.get<ffi::AnyBuffer>(i);
    if (own.has_error() || total.has_error())
      return ffi::Error(ffi::ErrorCode::kInvalidArgument, "legato: no array");
    const auto add = [&](auto number) {
      using Number = decltype(number);
      return process_sums->add(static_cast<const Number *>(own->untyped_data()),
                               static_cast<Number *>((*total)->untyped_data()),
                               static_cast<std::int64_t>(own->element_count()));
    };
    const char *problem = nullptr;
    switch (own->element_type()) {
      case ffi::F32: problem = add(float{}); break;
      case ffi::F64: problem = add(double{}); break;
      case ffi::S32: problem = add(std::int32_t{}); break;
      default: return ffi::Error(ffi::ErrorCode::kInvalidArgument, "legato: another dtype");
    }
    if (problem != nullptr) return ffi::Error(ffi::ErrorCode::kAborted, problem);
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace legato

// Shares memory for `legato_sum` with all processes that call this with the same file, which is empty
// at first. The memory stays until the process ends. Returns 0, or 1 if there is none.
LEGATO_EXPORT int legato_share_sums(int file, int index, int count) {
#if defined(__linux__)
  const std::int64_t bytes = legato::ProcessSums::bytes(count);
  if (posix_fallocate(file, 0, bytes) != 0) return 1;
  void *const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return 1;
  legato::process_sums = std::make_unique<legato::ProcessSums>(memory, index, count);
  return 0;
#else
  return 1;
#endif
}

// Ends the sums of all processes that wait for others, since one is gone.
LEGATO_EXPORT void legato_end_sums() { legato::process_sums->end(); }

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

// A chain of layers with the weights that it is given; null without memory. See native_chain.py.
LEGATO_EXPORT legato::Chain *legato_chain_make(const legato::Operation *operations,
                                               std::int64_t count, std::int64_t width) {
  try {
    return new legato::Chain(legato::kernel(), operations, count, width);
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

LEGATO_EXPORT void legato_chain_free(legato::Chain *chain) { delete chain; }

// These return 0, or 1 if there is no memory.
LEGATO_EXPORT int legato_chain_run(const legato::Chain *chain, const legato::Steps *steps) {
  try {
    chain->run(*steps);
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

LEGATO_EXPORT int legato_chain_generate(const legato::Chain *chain,
                                        const legato::Generation *generation) {
  try {
    chain->generate(*generation);
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
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
                                  .Arg<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>()
                                  .Ret<legato::F32>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(legato_sum, legato::sum,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets());
#pragma GCC visibility pop
