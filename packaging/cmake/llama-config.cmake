# find_package(llama): the target `llama`, and the variables that the original's package sets.
get_filename_component(_llama_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

include("${CMAKE_CURRENT_LIST_DIR}/llama-config-version.cmake")
set(LLAMA_VERSION      "${PACKAGE_VERSION}")
set(LLAMA_BUILD_COMMIT "camelid")
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_SHARED_LIB   ON)
set(LLAMA_INCLUDE_DIR  "${_llama_prefix}/include")
set(LLAMA_LIB_DIR      "${_llama_prefix}/lib")
set(LLAMA_BIN_DIR      "${_llama_prefix}/bin")

find_package(ggml REQUIRED HINTS "${LLAMA_LIB_DIR}/cmake")

set(llama_LIBRARY "${LLAMA_LIB_DIR}/libllama.so")
if(NOT TARGET llama)
    add_library(llama SHARED IMPORTED)
    set_target_properties(llama PROPERTIES
        IMPORTED_LOCATION "${llama_LIBRARY}"
        IMPORTED_SONAME "libllama.so.0"
        INTERFACE_INCLUDE_DIRECTORIES "${LLAMA_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "ggml::ggml;ggml::ggml-base")
endif()
