// Latent attention: keys and values that are linear images of what a cache holds.
#pragma once

#include <attenta/latent/grouped_latent.hpp>
#include <attenta/latent/grouped_tied.hpp>
#include <attenta/latent/latent_cache.hpp>
#include <attenta/latent/mla.hpp>
#include <attenta/latent/mla_project.hpp>
#include <attenta/latent/mtla.hpp>
