# The CUDA extension, atrous._cuda: the kernels built by nvcc, with the CUDA runtime linked in.

set(CMAKE_CUDA_COMPILER "${ATROUS_NVCC}")
set(CMAKE_CUDA_ARCHITECTURES "${ATROUS_CUDA_ARCHITECTURES}")
if(NOT CMAKE_CUDA_HOST_COMPILER)
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
endif()
atrous_nvcc_library_flag("${ATROUS_NVCC}" library_flag)
string(APPEND CMAKE_CUDA_FLAGS " ${library_flag}")
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
enable_language(CUDA)

set(ATROUS_CUDA_SOURCES csrc/module.cpp csrc/runtime_calls.cpp csrc/tensor_maps.cpp csrc/instances/table.cpp)
foreach(instance IN LISTS ATROUS_INSTANCES)
  list(APPEND ATROUS_CUDA_SOURCES csrc/instances/${instance}.cu)
endforeach()

pybind11_add_module(_cuda MODULE NO_EXTRAS ${ATROUS_CUDA_SOURCES})
target_include_directories(_cuda PRIVATE csrc/include csrc)
# Not find_package(CUDAToolkit): the registry's wheels have no libcudart.so for it to find.
target_include_directories(_cuda SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
string(REPLACE ";" " " ATROUS_ARCHITECTURE_WORDS "${CMAKE_CUDA_ARCHITECTURES}")
target_compile_definitions(_cuda PRIVATE
  "ATROUS_ARCHITECTURES=\"${ATROUS_ARCHITECTURE_WORDS}\""
  "ATROUS_NVCC_VERSION=\"${CMAKE_CUDA_COMPILER_VERSION}\""
)
set(ATROUS_CUDA_OPTIONS "$<$<COMPILE_LANGUAGE:CUDA>:--threads=2>")
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  # A sixth of the bytes of the default
  list(APPEND ATROUS_CUDA_OPTIONS "$<$<COMPILE_LANGUAGE:CUDA>:--compress-mode=size>")
endif()
target_compile_options(_cuda PRIVATE ${ATROUS_CUDA_OPTIONS})

# Kernels for sm_90a alone are built for it alone, and only where it was asked for; elsewhere the table lacks them.
if(ATROUS_INSTANCES_SM90 AND CMAKE_CUDA_ARCHITECTURES MATCHES "(^|;)90a")
  list(TRANSFORM ATROUS_INSTANCES_SM90 REPLACE "(.+)" "csrc/instances/\\1.cu" OUTPUT_VARIABLE ATROUS_SM90_SOURCES)
  add_library(atrous_sm90 OBJECT ${ATROUS_SM90_SOURCES})
  set_target_properties(atrous_sm90 PROPERTIES CUDA_ARCHITECTURES 90a-real)
  target_include_directories(atrous_sm90 PRIVATE csrc/include csrc)
  target_compile_options(atrous_sm90 PRIVATE ${ATROUS_CUDA_OPTIONS})
  target_link_libraries(_cuda PRIVATE atrous_sm90)
  target_compile_definitions(_cuda PRIVATE ATROUS_WITH_SM90)
endif()
set_target_properties(_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static LINKER_LANGUAGE CUDA)
install(TARGETS _cuda LIBRARY DESTINATION atrous)
