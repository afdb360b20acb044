# What every folder's CMakeLists.txt uses: dependencies, fg_library, fg_test.

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers and ccache agree only with the first two settings; the
  # third lets several clones share one cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CCACHE_PROGRAM})
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)  # module mode: also finds protoc
find_package(gRPC CONFIG REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(PkgConfig REQUIRED)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
if(FEDGRAFT_TRAINER)  # decoders and torch: the trainer process only
  find_package(Torch REQUIRED)
  find_package(OpenCV 4 REQUIRED COMPONENTS core imgproc imgcodecs)
  # Debian's libzip CMake files ask for tools that its -dev package lacks.
  pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
  # DCMTK's own files name libraries that its -dev packages lack, or differ.
  set(FG_DCMTK)
  foreach(part dcmimage dcmimgle dcmjpeg dcmjpls dcmdata oflog ofstd)
    find_library(FG_DCMTK_${part} ${part} REQUIRED)
    list(APPEND FG_DCMTK ${FG_DCMTK_${part}})
  endforeach()
endif()
if(FEDGRAFT_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

add_library(fg_flags INTERFACE)
target_include_directories(fg_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(FEDGRAFT_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address,undefined)
elseif(FEDGRAFT_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread -g)
  add_link_options(-fsanitize=thread)
  add_compile_definitions(FEDGRAFT_TSAN=1)
endif()

set(FG_WARNINGS -Wall -Wextra -Werror)
if(FEDGRAFT_SANITIZER)
  # GCC sees ghosts in instrumented code.
  list(APPEND FG_WARNINGS -Wno-maybe-uninitialized)
endif()

# fg_library(<name> SRCS a.cc … DEPS lib …): a static library of our own code.
function(fg_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_compile_options(${name} PRIVATE ${FG_WARNINGS})
  target_link_libraries(${name} PUBLIC fg_flags ${ARG_DEPS})
endfunction()

# fg_binary(<name> SRCS main.cc … DEPS lib …)
function(fg_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_compile_options(${name} PRIVATE ${FG_WARNINGS})
  target_link_libraries(${name} PRIVATE fg_flags ${ARG_DEPS})
endfunction()

# fg_test(<name> LABEL unit|torch|integration|simulation SRCS … DEPS …
#         [TIMEOUT seconds]): one GoogleTest binary run as one ctest entry, so
# that a binary that is slow to start starts once. Tests find the source tree
# and the data through FEDGRAFT_SOURCE_DIR and FEDGRAFT_DATA.
function(fg_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  fg_binary(${name} SRCS ${ARG_SRCS}
            DEPS ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}"
    TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "FEDGRAFT_SOURCE_DIR=${CMAKE_SOURCE_DIR};FEDGRAFT_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endfunction()
