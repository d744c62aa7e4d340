#include <attenta/softmax/scores/multi_token_kernels.inl>
#include <attenta/softmax/scores/relational_kernels.inl>
