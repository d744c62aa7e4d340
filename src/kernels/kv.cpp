#include <attenta/kv/eviction/kernels.inl>
