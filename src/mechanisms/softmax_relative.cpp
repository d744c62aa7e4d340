// What is compiled once of relative positions.
#include <attenta/softmax/relative/disentangled.inl>
#include <attenta/softmax/relative/persistent_memory.inl>
#include <attenta/softmax/relative/rcmha.inl>
#include <attenta/softmax/relative/relative_interaction.inl>
#include <attenta/softmax/relative/relative_shaw.inl>
#include <attenta/softmax/relative/relative_xl.inl>
