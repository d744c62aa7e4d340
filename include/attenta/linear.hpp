// Linear attention and fast-weight memories: a state per head in place of a cache.
#pragma once

#include <attenta/core/state_snapshots.hpp>
#include <attenta/linear/decay/gla.hpp>
#include <attenta/linear/decay/lightning.hpp>
#include <attenta/linear/decay/lrpe.hpp>
#include <attenta/linear/decay/mamba2.hpp>
#include <attenta/linear/decay/regla.hpp>
#include <attenta/linear/decay/retention.hpp>
#include <attenta/linear/decay/transnormer.hpp>
#include <attenta/linear/delta/comba.hpp>
#include <attenta/linear/delta/delta_rule.hpp>
#include <attenta/linear/delta/gated_delta_rule.hpp>
#include <attenta/linear/delta/gated_oja_rule.hpp>
#include <attenta/linear/delta/gdn2.hpp>
#include <attenta/linear/delta/kda.hpp>
#include <attenta/linear/delta/kda_gate.hpp>
#include <attenta/linear/delta/rwkv7.hpp>
#include <attenta/linear/features/additive_linear.hpp>
#include <attenta/linear/features/based.hpp>
#include <attenta/linear/features/efficient.hpp>
#include <attenta/linear/features/fastmax.hpp>
#include <attenta/linear/features/injective.hpp>
#include <attenta/linear/features/kernel_linear.hpp>
#include <attenta/linear/features/log_normal.hpp>
#include <attenta/linear/features/norm_aware.hpp>
#include <attenta/linear/features/performer.hpp>
#include <attenta/linear/features/random_feature_gated.hpp>
#include <attenta/linear/recurrent/bi_wkv.hpp>
#include <attenta/linear/recurrent/causal_conv.hpp>
#include <attenta/linear/recurrent/hgrn.hpp>
#include <attenta/linear/recurrent/hgrn2.hpp>
#include <attenta/linear/recurrent/log_linear.hpp>
#include <attenta/linear/recurrent/mamba.hpp>
#include <attenta/linear/recurrent/mesa.hpp>
#include <attenta/linear/recurrent/rwkv4_wkv.hpp>
#include <attenta/linear/recurrent/mlstm.hpp>
#include <attenta/linear/recurrent/rwkv6.hpp>
#include <attenta/linear/recurrent/titans.hpp>
#include <attenta/linear/sequences.hpp>

// In headers mode those that call exact attention, whose kernels take a minute to compile, are included by name.
#if !defined(ATTENTA_HEADERS)
#include <attenta/linear/features/latte.hpp>
#include <attenta/linear/features/sea.hpp>
#include <attenta/linear/features/vq.hpp>
#include <attenta/linear/recurrent/titans_mag.hpp>
#endif
