# Writes atrous/_build.json: what this build holds and, where it has no CUDA, why.

set(ATROUS_RECORD "{}")
function(atrous_record key value)
  string(REGEX REPLACE "[^ -~]" "?" text "${value}")
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(JSON record SET "${ATROUS_RECORD}" "${key}" "\"${text}\"")
  set(ATROUS_RECORD "${record}" PARENT_SCOPE)
endfunction()

# The commit, for measurements of the installed package: git's word, or that of the file COMMIT in a tree copied without its history.
set(ATROUS_COMMIT "")
find_program(ATROUS_GIT git)
if(ATROUS_GIT)
  execute_process(
    COMMAND "${ATROUS_GIT}" -c "safe.directory=${CMAKE_SOURCE_DIR}" describe --always --dirty=+ --exclude=*
    WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
    OUTPUT_VARIABLE ATROUS_COMMIT
    ERROR_QUIET
  )
endif()
if(NOT ATROUS_COMMIT AND EXISTS "${CMAKE_SOURCE_DIR}/COMMIT")
  file(READ "${CMAKE_SOURCE_DIR}/COMMIT" ATROUS_COMMIT)
endif()
string(STRIP "${ATROUS_COMMIT}" ATROUS_COMMIT)
if(ATROUS_COMMIT)
  atrous_record(commit "${ATROUS_COMMIT}")
endif()

atrous_record(host_compiler "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
if(ATROUS_NVCC)
  atrous_record(cuda "yes")
  atrous_record(nvcc "${CMAKE_CUDA_COMPILER_VERSION}")
  atrous_record(nvcc_origin "${ATROUS_NVCC_ORIGIN}")
  atrous_record(architectures "${ATROUS_ARCHITECTURE_WORDS}")
else()
  atrous_record(cuda "no")
  atrous_record(reason "${ATROUS_CUDA_REASON}")
endif()
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/_build.json" "${ATROUS_RECORD}\n")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/_build.json" DESTINATION atrous)
