// What must have happened before the filter is on.
#pragma once

namespace offloop::image::isolate {

/// Decodes and encodes a small picture of each format, and throws an exception, so that tables, CPU detection, locks
/// and the C library's own lazy parts are made. [before shut_in()]
void warm_up();

}  // namespace offloop::image::isolate
