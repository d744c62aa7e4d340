// What is compiled once of latent attention.
#include <attenta/latent/mla.inl>
#include <attenta/latent/mla_project.inl>
#include <attenta/latent/mtla.inl>
