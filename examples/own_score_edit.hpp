// A score edit of one's own: attention that forgets linearly with distance, but only beyond a grace distance.
#pragma once

#include <attenta/engine/score/own_edit.hpp>

struct LateDecay {
    float rate;   // per position
    float grace;  // positions without decay

    template <class Arch>
    void operator()(attenta::Tile<Arch> t) const;
};

ATTENTA_DECLARE_EDIT(LateDecay)
