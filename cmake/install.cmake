# What is installed where. Two components that never mix:
#   cpp     headers, both shared libraries, the CMake package   cmake --install BUILD --component cpp --prefix PREFIX
#   python  what the wheel holds beside the extension modules   scikit-build-core asks for this one only
include(CMakePackageConfigHelpers)
set(offloop_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/offloop)
set(offloop_libraries offloop_core)
foreach(target IN ITEMS offloop_net offloop_pictures)
  if(TARGET ${target})
    list(APPEND offloop_libraries ${target})
  endif()
endforeach()

# The counters are part of what the headers mean: a program built against a library that counts must count too.
if(OFFLOOP_COUNTERS OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(offloop_core INTERFACE OFFLOOP_COUNTERS=1)
endif()

install(TARGETS ${offloop_libraries} EXPORT offloopTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET offloop_vips)   # nobody links to it: liboffloop_image loads it
  install(TARGETS offloop_vips LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp NAMELINK_SKIP)
endif()
# Found by the library beside itself.
if(TARGET offloop_decoder)
  install(TARGETS offloop_decoder RUNTIME DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/offloop DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT cpp
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT offloopTargets NAMESPACE offloop:: DESTINATION ${offloop_cmake_dir} COMPONENT cpp)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/offloopConfig.cmake.in
  ${PROJECT_BINARY_DIR}/offloopConfig.cmake INSTALL_DESTINATION ${offloop_cmake_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/offloopConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/offloopConfig.cmake ${PROJECT_BINARY_DIR}/offloopConfigVersion.cmake
  DESTINATION ${offloop_cmake_dir} COMPONENT cpp)

if(OFFLOOP_PYTHON)
  # A wheel is a zip without symbolic links, and the loader asks for the SONAME: the file itself has that name here.
  set(offloop_shipped ${offloop_libraries})
  if(TARGET offloop_vips)
    list(APPEND offloop_shipped offloop_vips)
  endif()
  set_target_properties(${offloop_shipped} PROPERTIES VERSION 0)
  install(TARGETS ${offloop_shipped} LIBRARY DESTINATION offloop COMPONENT python NAMELINK_SKIP)

  if(TARGET offloop_decoder)
    install(TARGETS offloop_decoder RUNTIME DESTINATION offloop COMPONENT python)
  endif()

  # An interpreter with libraries of its own (conda's, tools/python-from-debian's) finds them by its RPATH. What we load
  # must follow that path too: with a RUNPATH instead, `import offloop` would bring in the system's OpenSSL, and the
  # interpreter's `import ssl` after it would fail.
  foreach(target IN ITEMS ${offloop_shipped} _core _ext _image)
    if(TARGET ${target})
      target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
    endif()
  endforeach()
endif()
