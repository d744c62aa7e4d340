// What is compiled once of linear attentions that go through the exact one.
#include <attenta/linear/features/sea.inl>
#include <attenta/linear/features/vq.inl>
