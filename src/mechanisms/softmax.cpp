// What is compiled once of exact attention.
#include <attenta/softmax/merge_state.inl>
#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.inl>
