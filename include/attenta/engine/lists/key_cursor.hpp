// The keys of a task, block by block: as they lie in the cache, or as a list names them.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/engine/lists/key_lists.hpp>
#include <attenta/engine/mask/mask.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

class KeyCursor {
public:
    /// `head`: of K and V, whose tokens they are, where heads hold different ones.
    KeyCursor(const KvView& kv, std::int64_t sequence, std::int64_t head, const ListedKeys& listed)
        : kv_(&kv), sequence_(sequence), head_(head), run_(listed.runs), skipped_(listed.skipped) {}

    /// Addresses of the rows of head 0 of the keys [begin, begin + count). Of a list these are the next ones, whose positions
    /// go to `positions`, which must last as long as the block that is returned.
    KeyBlock locate(std::int64_t begin, std::int64_t count, const std::byte** k_rows, const std::byte** v_rows,
                    std::int32_t* positions) {
        const std::int32_t* const of_slots = kv_->positions_of(sequence_, head_);
        if (!run_) {
            kv_->locate(sequence_, begin, count, k_rows, v_rows);
            return KeyBlock{0, begin + count, of_slots}.slice(begin, count);
        }
        for (std::int64_t done = 0; done < count;) {
            const std::int64_t n = std::min<std::int64_t>(run_->count - skipped_, count - done);
            const std::int64_t slot = run_->start + skipped_;
            kv_->locate(sequence_, slot, n, k_rows + done, v_rows + done);
            for (std::int64_t i = 0; i < n; ++i)
                positions[done + i] = of_slots ? of_slots[slot + i] : static_cast<std::int32_t>(slot + i);
            done += n;
            skipped_ += n;
            if (skipped_ == run_->count) {
                ++run_;
                skipped_ = 0;
            }
        }
        return {begin, count, positions};
    }

private:
    const KvView* kv_;
    std::int64_t sequence_, head_;
    const KeyRun* run_;
    std::int64_t skipped_;
};

ATTENTA_END
