# Finds xsimd (target xsimd). Debian's package names xtl as a library to link, which it does not bring and which exists
# as headers alone, for complex numbers.
find_package(xsimd QUIET)
if(TARGET xsimd AND NOT TARGET xtl)
    set_target_properties(xsimd PROPERTIES INTERFACE_LINK_LIBRARIES "")
endif()
