// What is compiled once of read-outs of heads' parameters, and of features that attention agrees with.
#include <attenta/analysis/feature_alignment.inl>
