// What is compiled once of low-rank attention.
#include <attenta/lowrank/clover.inl>
#include <attenta/lowrank/common.inl>
#include <attenta/lowrank/lama.inl>
#include <attenta/lowrank/leanvec.inl>
#include <attenta/lowrank/linformer.inl>
#include <attenta/lowrank/lowrank_keys.inl>
#include <attenta/lowrank/nystrom.inl>
#include <attenta/lowrank/soft.inl>
