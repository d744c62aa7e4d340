// What is compiled once of scores that more than one query and key make.
#include <attenta/softmax/scores/multi_token.inl>
#include <attenta/softmax/scores/path.inl>
#include <attenta/softmax/scores/relational.inl>
