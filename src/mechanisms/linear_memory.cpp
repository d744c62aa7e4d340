// What is compiled once of memories that solve or learn while they read.
#include <attenta/linear/recurrent/log_linear.inl>
#include <attenta/linear/recurrent/mesa.inl>
#include <attenta/linear/recurrent/titans.inl>
#include <attenta/linear/recurrent/titans_mag.inl>
