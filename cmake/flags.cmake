# Flags of every target of ours. No -march here or on any shared file: one binary serves every CPU, the hash kernels choose at run time.
add_library(offloop_flags INTERFACE)
target_compile_options(offloop_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wno-missing-field-initializers
  -fno-omit-frame-pointer        # profilers see through us in release builds
  -fvisibility-inlines-hidden -fno-semantic-interposition)
# RPATH, not RUNPATH: the search then goes on to the RPATH of who loads us, so that an interpreter that brings its own OpenSSL
# shares it with us. Two versions of libcrypto.so.3 in one process break whichever comes second.
target_link_options(offloop_flags INTERFACE -Wl,-Bsymbolic-functions -Wl,--disable-new-dtags)
if(OFFLOOP_WERROR)
  target_compile_options(offloop_flags INTERFACE -Werror)
endif()
if(OFFLOOP_COUNTERS OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(offloop_flags INTERFACE OFFLOOP_COUNTERS=1)
endif()
if(OFFLOOP_SANITIZE)
  target_compile_options(offloop_flags INTERFACE -fsanitize=${OFFLOOP_SANITIZE} -g1 -Og)   # half the compile time of -g -O1
  target_link_options(offloop_flags INTERFACE -fsanitize=${OFFLOOP_SANITIZE})
  if(OFFLOOP_SANITIZE MATCHES "undefined")
    target_compile_options(offloop_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
