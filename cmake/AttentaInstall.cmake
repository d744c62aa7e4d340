# Installs the libraries, the headers, the program, the CMake package and the pkg-config file.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/attenta")
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# attenta::headers needs xsimd where it is used, the compiled libraries do not: two sets, loaded apart.
set(libraries attenta attenta_headers_path)
if(TARGET attenta_catalog)
    list(APPEND libraries attenta_catalog)
endif()
install(TARGETS ${libraries} EXPORT attentaTargets)
install(TARGETS attenta_headers EXPORT attentaHeadersTargets)
if(TARGET attenta_cli)
    install(TARGETS attenta_cli)
endif()
install(
    DIRECTORY "${PROJECT_SOURCE_DIR}/include/attenta"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING
    PATTERN "*.hpp"
    PATTERN "*.inl")

foreach(set IN ITEMS attentaTargets attentaHeadersTargets)
    install(EXPORT ${set} NAMESPACE attenta:: DESTINATION "${package_dir}")
endforeach()
configure_package_config_file(
    "${CMAKE_CURRENT_LIST_DIR}/attentaConfig.cmake.in" "${PROJECT_BINARY_DIR}/attentaConfig.cmake"
    INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/attentaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(
    FILES
        "${PROJECT_BINARY_DIR}/attentaConfig.cmake"
        "${PROJECT_BINARY_DIR}/attentaConfigVersion.cmake"
        "${CMAKE_CURRENT_LIST_DIR}/AttentaKernels.cmake"
        "${CMAKE_CURRENT_LIST_DIR}/AttentaXsimd.cmake"
    DESTINATION "${package_dir}")

# Paths relative to the .pc file, so that the installed tree may be moved.
set(pkgconfig_full_dir "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH pc_includedir "${pkgconfig_full_dir}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
file(RELATIVE_PATH pc_libdir "${pkgconfig_full_dir}" "${CMAKE_INSTALL_FULL_LIBDIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/attenta.pc.in" "${PROJECT_BINARY_DIR}/attenta.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/attenta.pc" DESTINATION "${pkgconfig_dir}")
