# The instruction set of each SHA-256 kernel, file by file; nothing else of the project gets one. Included by src/CMakeLists.txt,
# in whose directory scope the properties must be set. A kernel of another architecture is not compiled.
set(offloop_kernels ${CMAKE_CURRENT_LIST_DIR})
set(offloop_x86_kernels shani avx2 avx512)
set(offloop_arm_kernels neon armv8)

# -O3 in every build type: the vector code is unusably slow without, and the tests run it a lot. -fno-tree-reassoc keeps our
# order of additions, which puts the late operand last: GCC's own order made AVX-512 x8 18 % slower (7 cycles a round, not 5).
set(offloop_flags_shani -O3 -msse4.1 -msha)   # no AVX flag: see kernels_shani.cpp
set(offloop_flags_avx2 -O3 -fno-tree-reassoc -mavx2)
# GCC 12 warns of its own header's deliberate self-initialisation (GCC bug 105593).
set(offloop_flags_avx512 -O3 -fno-tree-reassoc -mavx512f -mavx512bw -mavx512vl -Wno-uninitialized -Wno-maybe-uninitialized)
set(offloop_flags_neon -O3 -fno-tree-reassoc)
set(offloop_flags_armv8 -O3 -march=armv8-a+crypto)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(offloop_built ${offloop_x86_kernels})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(offloop_built ${offloop_arm_kernels})
else()
  set(offloop_built)
endif()
foreach(kernel IN LISTS offloop_x86_kernels offloop_arm_kernels)
  set(source ${offloop_kernels}/kernels_${kernel}.cpp)
  if(kernel IN_LIST offloop_built)
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${offloop_flags_${kernel}}")
  else()
    set_source_files_properties(${source} PROPERTIES HEADER_FILE_ONLY ON)
  endif()
endforeach()
set_source_files_properties(${offloop_kernels}/kernels_portable.cpp PROPERTIES COMPILE_OPTIONS "-O3")
