// What is compiled once of variants.
#include <attenta/variants/damped_ema.inl>
