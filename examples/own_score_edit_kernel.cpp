// Compiled once per instruction set: attenta_add_kernels(own_score_edit own_score_edit_kernel.cpp).
#include "own_score_edit.hpp"

template <class Arch>
void LateDecay::operator()(attenta::Tile<Arch> t) const {
    using Batch = typename attenta::Tile<Arch>::Batch;
    t.map([this](Batch s, const attenta::QueryRow&, Batch distance) {
        return s - Batch(rate) * xsimd::max(distance - Batch(grace), Batch(0.f));
    });
}

ATTENTA_DEFINE_EDIT(LateDecay)
