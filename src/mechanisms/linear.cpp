// What is compiled once of linear attention.
#include <attenta/linear/decay/lightning.inl>
#include <attenta/linear/decay/mamba2.inl>
#include <attenta/linear/decay/regla.inl>
#include <attenta/linear/decay/retention.inl>
#include <attenta/linear/features/kernel_linear.inl>
#include <attenta/linear/features/latte.inl>
#include <attenta/linear/features/performer.inl>
#include <attenta/linear/features/random_feature_gated.inl>
