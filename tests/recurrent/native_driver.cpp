// Runs every native kernel on many sizes, in buffers of exactly their size, for sanitizers; compares
// several threads with one, bit by bit. Prints "ok" at the end.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <random>
#include <thread>

#include "chain.h"
#include "process_sums.h"
#include "work.h"

using legato::Cell;
using legato::Kernel;
using legato::Problem;

// A pool whose threads take tasks from one queue.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
    for (std::thread &thread : threads_) thread.join();
  }
  template <typename F>
  void Schedule(F &&f) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.emplace_back(std::forward<F>(f));
    }
    ready_.notify_one();
  }

 private:
  void run() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ready_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  bool closed_ = false;
};

// Arrays of one call; each is a block of its own, so that reading beyond it is found.
struct Arrays {
  std::vector<std::vector<float>> inputs, outputs;
  std::vector<std::uint8_t> mask;
  std::mt19937 random{7};

  float *input(std::int64_t size) {
    std::normal_distribution<float> normal;
    std::vector<float> values(size);
    for (float &value : values) value = normal(random);
    inputs.push_back(std::move(values));
    return inputs.back().data();
  }
  float *output(std::int64_t size) {
    outputs.emplace_back(size, NAN);
    return outputs.back().data();
  }
};

void run(const Kernel &kernel, Cell cell, std::int64_t rows, std::int64_t steps,
         std::int64_t features, std::int64_t units, bool rich, Pool &pool, int threads,
         Arrays &arrays) {
  const std::int64_t gates = cell == Cell::lstm ? 4 : cell == Cell::simple_rnn ? 1 : 3;
  const std::int64_t blocks = cell == Cell::lstm ? 6 : cell == Cell::simple_rnn ? 1 : 4;
  const std::int64_t bias = (cell == Cell::gru ? 2 : 1) * gates * units;
  const std::int64_t padded = (units + kernel.vector - 1) / kernel.vector * kernel.vector;
  Problem p = {};
  p.cell = cell, p.rows = rows, p.steps = steps, p.features = features, p.units = units;
  p.x = arrays.input(rows * steps * features);
  p.h0 = arrays.input(rows * units), p.c0 = arrays.input(rows * units);
  p.W = arrays.input(features * gates * units), p.U = arrays.input(units * gates * units);
  p.b = arrays.input(bias);
  if (rich) {
    p.scale = arrays.input(gates * rows * units);
    for (std::int64_t i = 0; i < rows * steps; ++i) arrays.mask.push_back(arrays.random() % 3 != 0);
    p.mask = arrays.mask.data();
  }
  p.h_final = arrays.output(rows * units), p.c_final = arrays.output(rows * units);
  legato::run_forward(kernel, p, pool, threads);
  std::vector<float> kept(steps * rows * blocks * padded);
  p.gates = kept.data();
  p.hidden = arrays.output(rows * steps * units);
  p.h_final = arrays.output(rows * units), p.c_final = arrays.output(rows * units);
  legato::run_forward(kernel, p, pool, threads);
  if (rich) p.d_hidden = arrays.input(rows * steps * units);
  p.d_h = arrays.input(rows * units), p.d_c = arrays.input(rows * units);
  if (features % 2) p.dx = arrays.output(rows * steps * features);
  p.dh0 = arrays.output(rows * units), p.dc0 = arrays.output(rows * units);
  p.dW = arrays.output(features * gates * units), p.dU = arrays.output(units * gates * units);
  p.db = arrays.output(bias);
  legato::run_backward(kernel, p, pool, threads);
}

bool same(const Arrays &one, const Arrays &other) {
  for (std::size_t i = 0; i < one.outputs.size(); ++i)
    if (!one.outputs[i].empty() &&
        std::memcmp(one.outputs[i].data(), other.outputs[i].data(), one.outputs[i].size() * 4))
      return false;
  return true;
}

// A chain of layers fed several rows at once gives each the bits that it has alone.
bool chain_agrees(const Kernel &kernel, Cell cell, std::int64_t units) {
  constexpr std::int64_t rows = 37, steps = 3, features = 2, classes = 5;
  const bool lstm = cell == Cell::lstm;
  const std::int64_t gates = lstm ? 4 : cell == Cell::simple_rnn ? 1 : 3;
  const std::int64_t width = (lstm ? 2 : 1) * units + 1, row = width + classes;
  Arrays arrays;
  const legato::Operation operations[] = {
      {legato::kActivation, 1, features, features, 0, nullptr, nullptr, nullptr},
      {static_cast<std::int64_t>(cell), 0, features, units, 0,
       arrays.input(features * gates * units), arrays.input(units * gates * units), nullptr},
      {legato::kDense, 4, units, classes, 0, arrays.input(units * classes), nullptr,
       arrays.input(classes)}};
  const legato::Chain chain(kernel, operations, 3, width);
  const float *x = arrays.input(rows * steps * features);
  std::vector<float> states(rows * row, 1.0f), alone, emitted(rows * steps * classes);
  std::vector<std::int64_t> counts(rows);
  std::vector<std::uint8_t> starts(rows * steps);
  for (std::int64_t r = 0; r < rows; ++r) counts[r] = r % (steps + 1), starts[r * steps + 1] = r % 2;
  alone = states;
  chain.run({rows, steps, x, counts.data(), starts.data(), states.data(), emitted.data(), width});
  for (std::int64_t r = 0; r < rows; ++r)
    chain.run({1, counts[r], x + r * steps * features, nullptr, starts.data() + r * steps,
               alone.data() + r * row, nullptr, 0});
  std::vector<float> table(classes * features, 0.5f);
  std::int32_t chosen[2];
  chain.generate({2, alone.data(), table.data(), chosen, nullptr});
  chain.generate({2, states.data(), table.data(), chosen, nullptr});
  return states == alone;
}

// A team of this pool, with which not even a pool without threads is waited for.
bool team_computes_each_part_once(Pool &pool) {
  constexpr std::int64_t products = 3000;
  const auto team = legato::SharedTeam::gather(pool, 3);
  std::vector<std::int64_t> computed(20), expected(20);
  const auto count = [](const void *of, std::int64_t part) {
    ++(*static_cast<std::vector<std::int64_t> *const *>(of))->at(part);
  };
  std::vector<std::int64_t> *const counts = &computed;
  for (std::int64_t product = 0; product < products; ++product) {
    const std::int64_t parts = product % 20;
    team->share(team.get(), parts, product % 3 == 0, count, &counts, sizeof(counts));
    for (std::int64_t part = 0; part < parts; ++part) ++expected[part];
    if (product % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  team->close();
  return computed == expected;
}

// Threads in the place of processes: all get the same sums, of arrays that fill no slot and several,
// but none of arrays of different sizes, until one of them is gone.
bool processes_add_up(std::int64_t processes) {
  const std::int64_t most = legato::ProcessSums::kSlotBytes / sizeof(double);
  const std::int64_t sizes[] = {1, 0, 7, most, 2 * most + 3, 100};
  const std::size_t bytes = legato::ProcessSums::bytes(processes);
  void *const memory = std::aligned_alloc(legato::kLine, bytes);
  std::memset(memory, 0, bytes);
  std::atomic<bool> same{true};
  std::vector<std::thread> threads;
  for (std::int64_t index = 0; index < processes; ++index)
    threads.emplace_back([&, index] {
      legato::ProcessSums sums(memory, index, processes);
      for (const std::int64_t size : sizes) {
        std::vector<double> own(size), total(size);
        for (std::int64_t i = 0; i < size; ++i) own[i] = static_cast<double>(i * (index + 1));
        std::vector<double> longer(index + 1);
        const bool differ = sums.add(longer.data(), longer.data(), longer.size()) != nullptr;
        if (differ != (processes > 1)) same = false;
        if (sums.add(own.data(), total.data(), size) != nullptr) same = false;
        for (std::int64_t i = 0; i < size; ++i)
          if (total[i] != i * processes * (processes + 1) / 2) same = false;
      }
      float one = 1, total;
      if (index == 0)
        sums.end();
      else if (sums.add(&one, &total, 1) == nullptr)
        same = false;
    });
  for (std::thread &each : threads) each.join();
  std::free(memory);
  return same;
}

int main() {
  const std::int64_t sizes[][4] = {{1, 1, 1, 1},    {3, 9, 5, 13},   {31, 9, 2, 50}, {40, 3, 17, 16},
                                   {9, 17, 16, 48}, {70, 20, 9, 33}, {0, 2, 3, 4},   {2, 0, 3, 4},
                                   {1, 70, 3, 129}, {5, 20, 3, 130}, {1, 5, 37, 250}, {2, 4, 3, 250}};
  const Cell cells[] = {Cell::lstm, Cell::gru, Cell::gru_reset_before, Cell::simple_rnn};
  Pool pool(3), nobody(0);
  for (const Kernel *kernel : legato::usable_kernels())
    for (const Cell cell : cells)
      for (const std::int64_t units : {1, 13, 48, 50})
        if (!chain_agrees(*kernel, cell, units)) {
          std::printf("%s: cell %d, %ld units: rows of a chain differ\n", kernel->name,
                      static_cast<int>(cell), static_cast<long>(units));
          return 1;
        }
  for (const Kernel *kernel : legato::usable_kernels())
    for (const Cell cell : cells)
      for (const auto &size : sizes)
        for (const bool rich : {false, true}) {
          Arrays one, other;
          run(*kernel, cell, size[0], size[1], size[2], size[3], rich, pool, 1, one);
          run(*kernel, cell, size[0], size[1], size[2], size[3], rich, pool, 4, other);
          if (same(one, other)) continue;
          std::printf("%s: cell %d, %ld units: threads differ\n", kernel->name,
                      static_cast<int>(cell), static_cast<long>(size[3]));
          return 1;
        }
  if (!team_computes_each_part_once(pool) || !team_computes_each_part_once(nobody)) {
    std::puts("a team computed a part never or twice");
    return 1;
  }
  Arrays one, other;
  const Kernel &best = *legato::usable_kernels().front();
  run(best, Cell::lstm, 1, 70, 3, 129, false, pool, 1, one);
  run(best, Cell::lstm, 1, 70, 3, 129, false, nobody, 4, other);
  if (!same(one, other)) {
    std::puts("a team without helpers differs");
    return 1;
  }
  for (const std::int64_t processes : {1, 2, 5})
    if (!processes_add_up(processes)) {
      std::printf("sums of %ld processes differ\n", static_cast<long>(processes));
      return 1;
    }
  std::puts("ok");
  return 0;
}
