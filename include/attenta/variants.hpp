// Attention variants: other scores, other normalisers, other uses of the weights.
#pragma once

#include <attenta/variants/damped_ema.hpp>
#include <attenta/variants/locations/luong_local.hpp>
#include <attenta/variants/locations/monotonic_location.hpp>
#include <attenta/variants/network/additive.hpp>
#include <attenta/variants/network/impatient.hpp>
#include <attenta/variants/network/luong_global.hpp>
#include <attenta/variants/network/neural.hpp>
#include <attenta/variants/network/sentinel.hpp>
#include <attenta/variants/network/variational.hpp>
#include <attenta/variants/structured/conditioned.hpp>
#include <attenta/variants/structured/head_offset.hpp>
#include <attenta/variants/structured/label.hpp>
#include <attenta/variants/structured/spectral_dictionary.hpp>
#include <attenta/variants/structured/triadic.hpp>
#include <attenta/variants/structured/triadic_select.hpp>
