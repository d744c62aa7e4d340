// attenta: CPU attention kernels. This header: core, softmax attention, KV cache.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/dtype.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/executor.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/backend.hpp>
#include <attenta/engine/mask.hpp>
#include <attenta/engine/score_edit.hpp>
#include <attenta/kv/cache.hpp>
#include <attenta/softmax/merge_state.hpp>
#include <attenta/softmax/softmax.hpp>
