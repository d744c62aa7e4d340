// What is compiled once of read-outs of heads' parameters, of embeddings, and of features that attention agrees with.
#include <attenta/analysis/clip_decomposition.inl>
#include <attenta/analysis/feature_alignment.inl>
#include <attenta/analysis/head_parameters.inl>
#include <attenta/analysis/joint_embedding.inl>
