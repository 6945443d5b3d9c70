// Sums of arrays over the processes of one machine, through memory that they share.
//
// Each process copies its numbers to a slot of its own and waits until all have done so. Then each
// adds up a part of all slots, in the order of the processes, so that all get the same bits, waits
// again, and copies the totals. Numbers that do not fit a slot are added piece by piece. Who waits
// looks again and again, then lets others have the core in between, and at last sleeps in between.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <type_traits>

#include "team.h"

namespace legato {

class ProcessSums {
 public:
  static constexpr std::int64_t kSlotBytes = 1 << 20;

  static constexpr std::int64_t bytes(std::int64_t processes) {
    return kLine * (1 + processes) + kSlotBytes * (1 + processes);
  }

  // All bytes of the memory are zero at first.
  ProcessSums(void *memory, std::int64_t index, std::int64_t count)
      : memory_(static_cast<char *>(memory)), index_(index), count_(count) {}

  // Adds up an array; returns null, or why there is no sum. All processes call it in the same order.
  template <typename Number>
  const char *add(const Number *own, Number *total, std::int64_t size) {
    constexpr std::int64_t kMost = kSlotBytes / sizeof(Number);
    const char *problem = nullptr;
    for (std::int64_t begin = 0; begin < size && problem == nullptr; begin += kMost)
      problem = add_piece(own + begin, total + begin, std::min(kMost, size - begin));
    return problem;
  }

  // Ends the sums of all processes that wait for one that is gone.
  void end() { gone().store(1, std::memory_order_release); }

 private:
  using Stage = std::atomic<std::uint64_t>;
  static_assert(Stage::is_always_lock_free, "other processes have no lock");

  template <typename Number>
  const char *add_piece(const Number *own, Number *total, std::int64_t size) {
    static_assert(std::is_trivially_copyable_v<Number>);
    const std::uint64_t bytes = size * sizeof(Number);
    std::memcpy(slot(index_), own, bytes);
    given(index_).store(bytes, std::memory_order_relaxed);
    if (!all_reach(++stage_)) return kGone;
    bool alike = true;
    for (std::int64_t k = 0; k < count_; ++k)
      alike = alike && given(k).load(std::memory_order_relaxed) == bytes;
    if (!alike) return all_reach(++stage_) ? kDiffer : kGone;
    constexpr std::int64_t kInLine = kLine / sizeof(Number);
    const std::int64_t lines = (size + kInLine - 1) / kInLine;
    const std::int64_t first = lines * index_ / count_ * kInLine;
    const std::int64_t end = std::min(lines * (index_ + 1) / count_ * kInLine, size);
    Number *const sums = numbers<Number>(slot(count_));
    for (std::int64_t k = 0; k < count_; ++k) {
      const Number *const added = numbers<Number>(slot(k));
      for (std::int64_t i = first; i < end; ++i) sums[i] = k == 0 ? added[i] : sums[i] + added[i];
    }
    if (!all_reach(++stage_)) return kGone;
    std::memcpy(total, sums, bytes);
    return nullptr;
  }

  // Says that this process is at a stage, and waits until all are there.
  bool all_reach(std::uint64_t stage) {
    reached(index_).store(stage, std::memory_order_release);
    const auto begin = std::chrono::steady_clock::now();
    bool sleeps = false;
    for (std::int64_t k = 0; k < count_; ++k)
      for (std::int64_t turn = 0; reached(k).load(std::memory_order_acquire) < stage; ++turn) {
        if (gone().load(std::memory_order_acquire) != 0 &&
            reached(k).load(std::memory_order_acquire) < stage)
          return false;
        if (sleeps) {
          std::this_thread::sleep_for(kSleep);
        } else if (turn < kEager) {
          wait_a_little();
        } else {
          std::this_thread::yield();
          sleeps = turn % kLook == 0 && std::chrono::steady_clock::now() - begin > kPatience;
        }
      }
    return true;
  }

  Stage &gone() const { return *reinterpret_cast<Stage *>(memory_); }
  Stage &reached(std::int64_t process) const {
    return *reinterpret_cast<Stage *>(memory_ + kLine * (1 + process));
  }
  Stage &given(std::int64_t process) const { return *(&reached(process) + 1); }  // bytes
  // That of the totals comes after those of all processes.
  char *slot(std::int64_t process) const {
    return memory_ + kLine * (1 + count_) + kSlotBytes * process;
  }
  template <typename Number>
  static Number *numbers(char *bytes) {
    return reinterpret_cast<Number *>(bytes);
  }

  static constexpr const char *kGone = "legato: another process is gone";
  static constexpr const char *kDiffer =
      "legato: the processes add up different arrays; give each the same model, loss and metrics";
  static constexpr std::int64_t kEager = 500, kLook = 16;
  static constexpr std::chrono::milliseconds kPatience{5};
  static constexpr std::chrono::microseconds kSleep{100};

  char *const memory_;
  const std::int64_t index_, count_;
  std::uint64_t stage_ = 0;
};

}  // namespace legato
