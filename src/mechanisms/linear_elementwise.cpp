// What is compiled once of recurrences whose channels do not mix.
#include <attenta/linear/recurrent/bi_wkv.inl>
#include <attenta/linear/recurrent/causal_conv.inl>
#include <attenta/linear/recurrent/hgrn.inl>
#include <attenta/linear/recurrent/mamba.inl>
#include <attenta/linear/recurrent/rwkv4_wkv.inl>
