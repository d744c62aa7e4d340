// Attention variants: other scores, other normalisers, other uses of the weights.
#pragma once

#include <attenta/variants/damped_ema.hpp>
