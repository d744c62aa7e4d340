// What is compiled once of work on documents.
#include <attenta/sparse/documents/maxsim.inl>
#include <attenta/sparse/documents/rope_reencode.inl>
