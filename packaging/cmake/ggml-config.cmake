# find_package(ggml): the targets ggml::ggml, ggml::ggml-base, ggml::ggml-cpu (one library) and ggml::all. What the library has, its headers say.
get_filename_component(_ggml_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

include(CMakeFindDependencyMacro)
find_dependency(Threads)

set(GGML_SHARED_LIB         ON)
set(GGML_AVAILABLE_BACKENDS ggml-cpu)
set(GGML_INCLUDE_DIR        "${_ggml_prefix}/include")
set(GGML_LIB_DIR            "${_ggml_prefix}/lib")

foreach(_ggml_name ggml ggml-base ggml-cpu)
    if(NOT TARGET ggml::${_ggml_name})
        add_library(ggml::${_ggml_name} SHARED IMPORTED)
        set_target_properties(ggml::${_ggml_name} PROPERTIES
            IMPORTED_LOCATION "${GGML_LIB_DIR}/lib${_ggml_name}.so"
            IMPORTED_SONAME "libggml.so.0"
            INTERFACE_INCLUDE_DIRECTORIES "${GGML_INCLUDE_DIR}")
    endif()
endforeach()
if(NOT TARGET ggml::all)
    add_library(ggml::all INTERFACE IMPORTED)
    set_target_properties(ggml::all PROPERTIES INTERFACE_LINK_LIBRARIES "ggml::ggml;ggml::ggml-base;ggml::ggml-cpu")
endif()
