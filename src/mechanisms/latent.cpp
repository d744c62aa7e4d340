// What is compiled once of latent attention.
#include <attenta/latent/mla.inl>
#include <attenta/latent/mtla.inl>
