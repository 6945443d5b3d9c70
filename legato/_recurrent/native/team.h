// Threads that share the work on few rows, step by step.
//
// One row has nothing to divide but its units, and the next step needs them all. The calling thread
// gives every helper that is there, or that comes meanwhile, a range of a step's parts, and computes
// its own, so that each core reads the same weights at every step. Then it takes from the helpers'
// ranges what nobody has begun: it never waits for a thread that is not running, but for one that was
// interrupted in a part. If that takes long, the team is dissolved; a helper that is given nothing for
// long leaves as well. A team that was dissolved or hardly helped shows that the machine is busy: some
// of the next calls do without one.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "recurrence.h"

namespace legato {

inline void wait_a_little() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Counts the time of a thread that waits, looking at the clock now and then.
class Patience {
 public:
  // Waits a little; returns whether it has waited for less than `most`.
  bool wait(std::chrono::microseconds most) {
    if (++turns_ < kEager) return true;
    wait_a_little();
    if (turns_ % 64 != 0) return true;
    const auto now = std::chrono::steady_clock::now();
    if (begin_ == decltype(now)()) begin_ = now;
    return now - begin_ < most;
  }

 private:
  static constexpr std::int64_t kEager = 1000;  // turns without a pause, which may take half a µs

  std::int64_t turns_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

class SharedTeam : public Team, public std::enable_shared_from_this<SharedTeam> {
 public:
  static constexpr int kMostHelpers = 3;

  // A team of so many helpers, which run as tasks of a pool. The pool must outlive the team's use.
  template <typename Pool>
  static std::shared_ptr<SharedTeam> gather(Pool &pool, int helpers) {
    auto team = std::make_shared<SharedTeam>(std::min(helpers, kMostHelpers));
    team->schedule_ = [&pool](std::shared_ptr<SharedTeam> self, Helper &helper) {
      pool.Schedule([self, &helper] { self->help(helper); });
    };
    team->call_helpers();
    return team;
  }

  explicit SharedTeam(int helpers) : Team{share_parts}, helpers_(helpers) {}

  // Ends the work of the helpers; returns whether they were worth it.
  bool close() {
    closed_.store(true, std::memory_order_release);
    return !dissolved_ && 8 * expected_ >= shared_;
  }

 private:
  using Word = std::uint64_t;  // round, backwards, next part, end of the parts: 31, 1, 16, 16

  enum Presence { kGone, kCalled, kHere };

  struct alignas(kLine) Helper {
    std::atomic<Presence> presence{kGone};
    std::atomic<Word> range{0};
  };

  static constexpr std::int64_t kMostParts = 0xffff;
  static constexpr Word kCallAgain = 64;  // rounds after which helpers that left are called again
  static constexpr std::chrono::microseconds kIdle{500}, kSpin{20}, kLong{200};

  void call_helpers() {
    for (int i = 0; i < helpers_; ++i)
      if (helper_[i].presence.load(std::memory_order_acquire) == kGone) {
        helper_[i].presence.store(kCalled, std::memory_order_relaxed);
        schedule_(shared_from_this(), helper_[i]);
      }
  }

  static Word word(Word round, bool backwards, Word next, Word end) {
    return round << 33 | Word{backwards} << 32 | next << 16 | end;
  }
  static bool backwards(Word word) { return word >> 32 & 1; }
  // The range without its first part, or without its last.
  static Word first_taken(Word word, bool first) { return first ? word + (1 << 16) : word - 1; }

  void help(Helper &me) {
    me.presence.store(kHere, std::memory_order_release);
    Patience patience;
    while (!closed_.load(std::memory_order_acquire)) {
      Word now = me.range.load(std::memory_order_acquire);
      const Word next = now >> 16 & 0xffff, end = now & 0xffff;
      if (next == end) {
        if (patience.wait(kIdle)) continue;
        break;
      }
      const Word rest = first_taken(now, !backwards(now));
      if (!me.range.compare_exchange_strong(now, rest, std::memory_order_acq_rel)) continue;
      part_(context_, backwards(now) ? end - 1 : next);
      done_.fetch_add(1, std::memory_order_release);
      patience = Patience();
    }
    me.presence.store(kGone, std::memory_order_release);
  }

  static void share_parts(Team *team, std::int64_t count, bool backwards,
                          void (*part)(const void *, std::int64_t), const void *context,
                          std::size_t size) {
    const auto self = static_cast<SharedTeam *>(team);
    std::memcpy(self->context_, context, size);
    self->part_ = part;
    self->share_all(count, backwards);
  }

  void share_all(std::int64_t count, bool backwards) {
    const int wanted = dissolved_ || count > kMostParts ? 0 : helpers_;
    Helper *present[kMostHelpers];
    bool given[kMostHelpers] = {};
    int helpers = 0;
    const auto admit = [&] {  // returns the helper that has come last, if one has
      for (int i = 0; i < wanted; ++i)
        if (!given[i] && helper_[i].presence.load(std::memory_order_acquire) == kHere) {
          given[i] = true;
          return present[helpers++] = &helper_[i];
        }
      return static_cast<Helper *>(nullptr);
    };
    ++round_;
    if (!dissolved_ && round_ % kCallAgain == 0) call_helpers();
    while (admit() != nullptr) continue;
    const auto begin = [count, members = helpers + 1](int member) { return count * member / members; };
    for (int i = 0; i < helpers; ++i)
      give(*present[i], backwards, begin(i + 1), begin(i + 2));
    std::int64_t first = 0, end = begin(1), mine = 0;
    for (; first < end; ++mine) {
      Helper *const late = helpers < wanted && end - first > 1 ? admit() : nullptr;
      if (late != nullptr) {
        const std::int64_t middle = (first + end + 1) / 2;
        give(*late, backwards, middle, end);
        end = middle;
      }
      part_(context_, backwards ? --end : first++);
    }
    std::int64_t begun = count - mine;
    for (int i = 0; i < helpers; ++i) begun -= take_from(*present[i]);
    expected_ += begun, shared_ += count;
    if (done_.load(std::memory_order_acquire) != expected_) wait_for_parts();
  }

  void give(Helper &helper, bool backwards, std::int64_t begin, std::int64_t end) {
    helper.range.store(word(round_, backwards, begin, end), std::memory_order_release);
  }

  // Computes the parts of a helper's range that it has not begun; returns how many.
  std::int64_t take_from(Helper &helper) {
    std::int64_t taken = 0;
    Word now = helper.range.load(std::memory_order_acquire);
    while ((now >> 16 & 0xffff) != (now & 0xffff)) {
      const std::int64_t part = backwards(now) ? now >> 16 & 0xffff : (now & 0xffff) - 1;
      const Word rest = first_taken(now, backwards(now));
      if (!helper.range.compare_exchange_strong(now, rest, std::memory_order_acq_rel)) continue;
      part_(context_, part);
      ++taken, now = helper.range.load(std::memory_order_acquire);
    }
    return taken;
  }

  void wait_for_parts() {
    Patience spin, all;
    bool spins = true;
    while (done_.load(std::memory_order_acquire) != expected_) {
      spins = spins && spin.wait(kSpin);
      if (spins) continue;
      std::this_thread::yield();
      if (!all.wait(kLong)) dissolved_ = true;
    }
  }

  const int helpers_;
  std::function<void(std::shared_ptr<SharedTeam>, Helper &)> schedule_;
  Helper helper_[kMostHelpers];
  std::atomic<bool> closed_{false};
  alignas(kLine) std::atomic<std::int64_t> done_{0};
  // What helpers read of a round; nothing else that is written often lies on these lines.
  alignas(kLine) unsigned char context_[kContext];
  alignas(kLine) void (*part_)(const void *, std::int64_t) = nullptr;
  alignas(kLine) Word round_ = 0;  // the last one: calls of `share` are counted
  std::int64_t expected_ = 0;  // parts that helpers have begun in all
  std::int64_t shared_ = 0;    // parts in all
  bool dissolved_ = false;
};

// The team of a call, if one is wanted; after each that was not worth it, twice as many calls as after
// the one before have none, and after each that was, half as many.
class CallTeam {
 public:
  template <typename Pool>
  CallTeam(Pool &pool, int helpers) {
    if (helpers < 1 || calls_alone.load(std::memory_order_relaxed) > 0) {
      if (helpers > 0) calls_alone.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    team_ = SharedTeam::gather(pool, helpers);
  }
  ~CallTeam() {
    if (team_ == nullptr) return;
    const int penalty = next_penalty.load(std::memory_order_relaxed);
    const bool good = team_->close();
    if (!good) calls_alone.store(penalty, std::memory_order_relaxed);
    const int next = good ? std::max(penalty / 2, 1) : std::min(2 * penalty, 256);
    next_penalty.store(next, std::memory_order_relaxed);
  }
  CallTeam(const CallTeam &) = delete;
  CallTeam &operator=(const CallTeam &) = delete;
  Team *get() const { return team_.get(); }

 private:
  static inline std::atomic<int> calls_alone{0}, next_penalty{1};
  std::shared_ptr<SharedTeam> team_;
};

}  // namespace legato
