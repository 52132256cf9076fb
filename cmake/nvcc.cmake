# Finds an nvcc that works: sets ATROUS_NVCC, ATROUS_NVCC_ORIGIN and, where there is none, ATROUS_CUDA_REASON.

# The nvcc of the registry's wheels, wherever the Python that runs this build would import them from.
function(atrous_nvcc_of_python result)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "
import importlib.util, pathlib
if importlib.util.find_spec('nvidia') and (spec := importlib.util.find_spec('nvidia.cu13')):
    found = [path for place in spec.submodule_search_locations or [] if (path := pathlib.Path(place, 'bin', 'nvcc')).is_file()]
    print(found[0] if found else '')
"
    OUTPUT_VARIABLE path
    OUTPUT_STRIP_TRAILING_WHITESPACE
  )
  set(${result} "${path}" PARENT_SCOPE)
endfunction()

# The registry's nvcc looks for the libraries in lib64 and ships them in lib.
function(atrous_nvcc_library_flag nvcc result)
  file(REAL_PATH "${nvcc}" real)
  cmake_path(GET real PARENT_PATH folder)
  cmake_path(GET folder PARENT_PATH root)
  set(flag "")
  if(EXISTS "${root}/lib/libcudart_static.a")
    set(flag "-L${root}/lib")
  endif()
  set(${result} "${flag}" PARENT_SCOPE)
endfunction()

# CMake cannot go on after an enable_language that failed, so a whole program is built by hand first.
function(atrous_nvcc_complaint nvcc result)
  set(folder "${CMAKE_BINARY_DIR}/nvcc_probe")
  file(WRITE "${folder}/probe.cu" "#include <cuda_runtime.h>\n__global__ void probe() {}\nint main() { probe<<<1, 1>>>(); }\n")
  atrous_nvcc_library_flag("${nvcc}" library_flag)
  execute_process(
    COMMAND "${nvcc}" ${library_flag} -ccbin "${CMAKE_CXX_COMPILER}" -std=c++17 --cudart static -o "${folder}/probe" "${folder}/probe.cu"
    RESULT_VARIABLE status
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output
  )
  set(complaint "")
  if(NOT status EQUAL 0)
    string(STRIP "${output}" complaint)
    string(REGEX REPLACE "[\r\n]+" " | " complaint "${complaint}")
    string(SUBSTRING "${complaint} (status ${status})" 0 400 complaint)
  endif()
  set(${result} "${complaint}" PARENT_SCOPE)
endfunction()

# In the order of preference: the compiler the user names, the registry's, the system's.
macro(atrous_locate_nvcc)
  set(ATROUS_NVCC "")
  if(CMAKE_CUDA_COMPILER)
    set(ATROUS_NVCC "${CMAKE_CUDA_COMPILER}")
    set(ATROUS_NVCC_ORIGIN "CMAKE_CUDA_COMPILER")
  elseif(NOT "$ENV{CUDACXX}" STREQUAL "")
    set(ATROUS_NVCC "$ENV{CUDACXX}")
    set(ATROUS_NVCC_ORIGIN "CUDACXX")
  else()
    atrous_nvcc_of_python(ATROUS_NVCC)
    set(ATROUS_NVCC_ORIGIN "package registry")
    if(NOT ATROUS_NVCC)
      find_program(ATROUS_SYSTEM_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
      if(ATROUS_SYSTEM_NVCC)
        set(ATROUS_NVCC "${ATROUS_SYSTEM_NVCC}")
        set(ATROUS_NVCC_ORIGIN "system")
      endif()
    endif()
  endif()
endmacro()

macro(atrous_find_nvcc)
  set(ATROUS_CUDA_REASON "")
  string(TOUPPER "${ATROUS_CUDA}" ATROUS_CUDA_WISH)
  if(ATROUS_CUDA_WISH MATCHES "^(OFF|NO|FALSE|0)$")
    set(ATROUS_NVCC "")
    set(ATROUS_CUDA_REASON "ATROUS_CUDA=${ATROUS_CUDA} asked for a build without CUDA")
  elseif(NOT ATROUS_CUDA_WISH MATCHES "^(AUTO|ON|YES|TRUE|1)$")
    message(FATAL_ERROR "[atrous] ATROUS_CUDA is '${ATROUS_CUDA}'; expected AUTO, ON or OFF; correct or unset it.")
  else()
    atrous_locate_nvcc()
    if(NOT ATROUS_NVCC)
      set(ATROUS_CUDA_REASON "no nvcc was found: not named by CUDACXX, not among the build's packages, not on PATH")
    else()
      atrous_nvcc_complaint("${ATROUS_NVCC}" ATROUS_COMPLAINT)
      if(ATROUS_COMPLAINT)
        set(ATROUS_CUDA_REASON "nvcc (${ATROUS_NVCC_ORIGIN}) cannot build an empty program: ${ATROUS_COMPLAINT}")
        set(ATROUS_NVCC "")
      endif()
    endif()
    # A compiler that the user names and that does not work is an error too: nothing else was asked for.
    if(ATROUS_CUDA_REASON AND (NOT ATROUS_CUDA_WISH STREQUAL "AUTO" OR ATROUS_NVCC_ORIGIN MATCHES "CUDACXX|CMAKE"))
      message(FATAL_ERROR "[atrous] ${ATROUS_CUDA_REASON}; expected an nvcc that works with "
        "${CMAKE_CXX_COMPILER}; name one by CUDACXX, or build without CUDA by ATROUS_CUDA=OFF.")
    endif()
  endif()
  if(ATROUS_CUDA_REASON)
    message(STATUS "[atrous] building without CUDA: ${ATROUS_CUDA_REASON}")
  else()
    message(STATUS "[atrous] building with nvcc of the ${ATROUS_NVCC_ORIGIN}: ${ATROUS_NVCC}")
  endif()
endmacro()
