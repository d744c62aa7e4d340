# ATTENTA_SANITIZE, as in -fsanitize=..., for everything that is compiled from here on.
if(ATTENTA_SANITIZE)
    add_compile_options(-fsanitize=${ATTENTA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${ATTENTA_SANITIZE})
endif()
