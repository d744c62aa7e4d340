// What is compiled once of attention whose scores come from a small network or from places.
#include <attenta/variants/locations/luong_local.inl>
#include <attenta/variants/network/additive.inl>
#include <attenta/variants/network/luong_global.inl>
#include <attenta/variants/network/luong_scores.inl>
#include <attenta/variants/network/neural.inl>
#include <attenta/variants/network/pair_scores.inl>
#include <attenta/variants/network/impatient.inl>
#include <attenta/variants/network/sentinel.inl>
