// What is compiled once of linear attention by features.
#include <attenta/linear/features/additive_linear.inl>
#include <attenta/linear/features/efficient.inl>
#include <attenta/linear/features/fastmax.inl>
#include <attenta/linear/features/injective.inl>
#include <attenta/linear/features/log_normal.inl>
#include <attenta/linear/features/norm_aware.inl>
