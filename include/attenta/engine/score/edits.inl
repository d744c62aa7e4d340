#pragma once

#include <attenta/engine/backend.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/engine/score/observers.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE ScoreEdit edit(const edits::SoftCap& e) {
    return ScoreEdit(e, [](Isa isa) { return backend_of(isa).soft_cap; });
}
ATTENTA_INLINE ScoreEdit edit(const edits::Alibi& e) {
    return ScoreEdit(e, [](Isa isa) { return backend_of(isa).alibi; });
}
ATTENTA_INLINE ScoreEdit edit(const edits::Bias& e) {
    return ScoreEdit(e, [](Isa isa) { return backend_of(isa).bias; });
}
ATTENTA_INLINE ScoreEdit edit(const edits::ColumnSums& e) {
    return ScoreEdit(e, [](Isa isa) { return backend_of(isa).column_sums; });
}
ATTENTA_INLINE ScoreEdit edit(const edits::LastRows& e) {
    return ScoreEdit(e, [](Isa isa) { return backend_of(isa).last_rows; });
}

ATTENTA_END
