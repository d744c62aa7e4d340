// What is compiled once of the delta rules' relatives and of the matrix memory.
#include <attenta/linear/delta/gated_oja_rule.inl>
#include <attenta/linear/delta/kda_gate.inl>
#include <attenta/linear/recurrent/mlstm.inl>
