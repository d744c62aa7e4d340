// What is compiled once of retrieval of keys.
#include <attenta/sparse/retrieval/loki.inl>
