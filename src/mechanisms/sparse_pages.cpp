// What is compiled once of selections of pages and blocks.
#include <attenta/sparse/pages/minference.inl>
#include <attenta/sparse/pages/moba.inl>
#include <attenta/sparse/pages/nsa.inl>
#include <attenta/sparse/pages/quest.inl>
#include <attenta/sparse/pages/xattention.inl>
