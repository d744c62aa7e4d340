// What is compiled once of graphs and content patterns.
#include <attenta/sparse/content/combiner.inl>
#include <attenta/sparse/content/head_gating.inl>
#include <attenta/sparse/content/landmark.inl>
#include <attenta/sparse/content/routing.inl>
#include <attenta/sparse/content/social.inl>
#include <attenta/sparse/content/sparsek.inl>
