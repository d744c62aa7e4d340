#include "temperature.hpp"

#if defined(ATTENTA_KERNEL_ISA) && defined(__OPTIMIZE__) == defined(UNOPTIMIZED_KERNELS)
#error "kernels are optimised whatever the build type, unless ATTENTA_OPTIMIZE_KERNELS is off"
#endif

template <class Arch>
void Temperature::operator()(attenta::Tile<Arch> tile) const {
    tile.map([&](auto s) { return s * (1 / temperature); });
}
ATTENTA_DEFINE_EDIT(Temperature)
