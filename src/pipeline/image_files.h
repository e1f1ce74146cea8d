// A picture's file, whole: in and out.
#pragma once

#include <string>

#include "offloop/base/bytes.h"
#include "offloop/base/result.h"
#include "offloop/fetch/collect.h"

namespace offloop::pipeline {

/// A regular file's content. kIo with errno and path (EISDIR, or EINVAL for what is neither: a pipe would hold up a
/// worker); kImageLimit above `max_bytes`. [worker]
Result<fetch::OwnedBytes> read_picture_file(const std::string& path, std::uint64_t max_bytes);
/// Written beside as path + ".part", renamed when complete; the .part is removed when anything fails. kIo. [worker]
Result<Unit> write_picture_file(const std::string& path, ByteSpan data);

}  // namespace offloop::pipeline
