// s ← s / temperature
#pragma once

#include <attenta/engine/score/own_edit.hpp>

struct Temperature {
    float temperature;

    template <class Arch>
    void operator()(attenta::Tile<Arch> tile) const;
};
ATTENTA_DECLARE_EDIT(Temperature)
