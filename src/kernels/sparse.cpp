// Kernels of sparse mechanisms: #include <attenta/sparse/FOLDER/MECHANISM_kernels.inl>
