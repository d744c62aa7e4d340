// The tensors of a benchmark.
#pragma once

#include "bench/names.hpp"

#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace bench {

/// q, K, V and o of a case, standard normal, in as many copies as K and V need to be out of the cache when a copy's
/// turn comes again: more than four times the last-level cache, but at most 2 GiB in all. One copy for warm cases. All
/// problems share one block of memory: only the newest is valid.
class Problem {
public:
    explicit Problem(const AttendCase& c);

    const AttendCase& shape() const { return case_; }
    std::size_t copies() const { return copies_; }

    attenta::Heads<const float> q(std::size_t copy) const;
    attenta::Heads<float> o(std::size_t copy) const;
    attenta::KvView kv(std::size_t copy) const;
    /// Which keys a query sees, [Tq, Tk], 1 or 0, for implementations that take a mask; or nothing: as the case says.
    std::span<const std::uint8_t> mask() const { return mask_; }
    void set_mask(std::vector<std::uint8_t> mask) { mask_ = std::move(mask); }

    /// What the definition needs: every visible pair of query and key once, every tensor read or written once.
    double flops() const;
    double bytes() const;

private:
    attenta::KvView::Rows side(const std::byte* data, std::int64_t dim) const;
    void fill();

    AttendCase case_;
    std::int64_t tokens_;  // of K and V in memory, whole pages
    std::size_t copies_ = 1, copy_bytes_ = 0;
    std::size_t v_at_ = 0, q_at_ = 0, o_at_ = 0;  // offsets inside a copy; K is at 0
    std::byte* data_ = nullptr;
    std::vector<std::int32_t> block_table_, lengths_;
    std::vector<std::uint8_t> mask_;
};

}  // namespace bench
