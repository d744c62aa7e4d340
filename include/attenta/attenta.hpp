// attenta: CPU attention kernels. This header: core, softmax attention, KV cache. Further families have headers beside it:
// attenta/linear.hpp, attenta/sparse.hpp, attenta/kv.hpp.
// A call takes one thread, the caller's, unless it is given a Context on a ThreadPool or on an executor of one's own.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/dtype.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/executor.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/mask/combine.hpp>
#include <attenta/engine/mask/masks.hpp>
#include <attenta/engine/score/edits.hpp>
#include <attenta/kv/cache.hpp>
#include <attenta/softmax/merge_state.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/softmax/weights.hpp>
