// What is compiled once of mechanisms with structured inputs.
#include <attenta/variants/structured/conditioned.inl>
#include <attenta/variants/structured/head_offset.inl>
#include <attenta/variants/structured/label.inl>
#include <attenta/variants/structured/spectral_dictionary.inl>
#include <attenta/variants/structured/triadic.inl>
#include <attenta/variants/structured/triadic_select.inl>
