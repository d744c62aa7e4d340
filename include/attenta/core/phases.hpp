// Where the time of a run goes, for those who want to look: a Context that knows a PhaseTimes adds to it.
#pragma once

#include <attenta/core/config.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

/// What a kernel of exact attention does.
///   pack     brings queries, keys and values into the order of the products
///   scores   q·k of a block of keys
///   softmax  edits, masks, maxima, exponentials, sums
///   values   weights times values
///   merge    normalises and writes outputs, joins the parts of a split sequence
enum class Phase : std::uint8_t { pack, scores, softmax, values, merge };

/// Time by phase, summed over threads.
class PhaseTimes {
public:
    static constexpr std::array phases = {Phase::pack, Phase::scores, Phase::softmax, Phase::values, Phase::merge};

    void add(Phase p, std::chrono::nanoseconds t) { time(p).fetch_add(t.count(), std::memory_order_relaxed); }
    double seconds(Phase p) const { return 1e-9 * static_cast<double>(times_[static_cast<std::size_t>(p)].load()); }

private:
    std::atomic<std::int64_t>& time(Phase p) { return times_[static_cast<std::size_t>(p)]; }

    std::array<std::atomic<std::int64_t>, phases.size()> times_ = {};
};

/// Gives the time since its last lap to a phase; does nothing without PhaseTimes.
class Stopwatch {
    using Clock = std::chrono::steady_clock;

public:
    explicit Stopwatch(PhaseTimes* times) : times_(times) {
        if (times_) last_ = Clock::now();
    }
    void lap(Phase p) {
        if (!times_) return;
        const Clock::time_point now = Clock::now();
        times_->add(p, now - last_);
        last_ = now;
    }

private:
    PhaseTimes* times_;
    Clock::time_point last_ = {};
};

ATTENTA_END
