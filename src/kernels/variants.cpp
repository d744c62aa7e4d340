#include <attenta/variants/damped_ema_kernels.inl>
