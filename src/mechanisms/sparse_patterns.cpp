// What is compiled once of static patterns.
#include <attenta/sparse/patterns/star.inl>
