// What is compiled once of what all sparse mechanisms share.
#include <attenta/sparse/common.inl>
#include <attenta/sparse/key_rows.inl>
