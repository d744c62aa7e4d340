// Low-rank attention: sequences, keys or weights in fewer dimensions.
#pragma once

#include <attenta/lowrank/clover.hpp>
#include <attenta/lowrank/lama.hpp>
#include <attenta/lowrank/leanvec.hpp>
#include <attenta/lowrank/linformer.hpp>
#include <attenta/lowrank/lowrank_keys.hpp>
#include <attenta/lowrank/nystrom.hpp>
#include <attenta/lowrank/soft.hpp>
