// What is compiled once of indexers.
#include <attenta/sparse/indexers/compressed.inl>
#include <attenta/sparse/indexers/dsa.inl>
#include <attenta/sparse/indexers/msa.inl>
#include <attenta/sparse/indexers/qsa.inl>
