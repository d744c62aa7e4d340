// What is compiled once of policies that score by attention weights.
#include <attenta/kv/policies/caote.inl>
#include <attenta/kv/policies/fastgen.inl>
