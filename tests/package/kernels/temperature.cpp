#include "temperature.hpp"

template <class Arch>
void Temperature::operator()(attenta::Tile<Arch> tile) const {
    tile.map([&](auto s) { return s * (1 / temperature); });
}
ATTENTA_DEFINE_EDIT(Temperature)
