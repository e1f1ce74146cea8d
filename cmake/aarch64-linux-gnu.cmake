# Debian's cross compiler (g++-aarch64-linux-gnu) against the arm64 libraries that tools/dev/arm64-sysroot has put into
# OFFLOOP_SYSROOT (a variable of CMake or of the environment); what it builds runs under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
if(NOT OFFLOOP_SYSROOT)
  set(OFFLOOP_SYSROOT $ENV{OFFLOOP_SYSROOT})
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OFFLOOP_SYSROOT)
set(CMAKE_SYSROOT ${OFFLOOP_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L ${OFFLOOP_SYSROOT})   # max: with the SHA-2 extension
set(CMAKE_FIND_ROOT_PATH ${OFFLOOP_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# What pkg-config finds is the sysroot's, too, and nothing of this system's.
set(ENV{PKG_CONFIG_LIBDIR} ${OFFLOOP_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${OFFLOOP_SYSROOT})
