// The native halves of the fetch operations, and the fetcher they hold on to. Used by ext.cpp; bound by nothing else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core_api.h"
#include "offloop/fetch/collect.h"
#include "offloop/hash/chunk.h"
#include "offloop/pipeline/fetch_hash.h"

namespace offloop::python {

/// What a transfer was, for Python.
struct ResponseInfo {
  int status = 0;
  std::string final_url;
  std::vector<std::pair<std::string, std::string>> headers;
  unsigned redirects = 0;
  std::string peer_ip;
  std::string http_version;
  bool reused_connection = false;
  std::uint64_t size = 0;  ///< decoded body bytes
  fetch::Timings timings;
};
ResponseInfo response_info(const fetch::TransferInfo& info);

/// What `Fetcher.get` yields.
struct Response : ResponseInfo {
  std::shared_ptr<fetch::OwnedBytes> body;
};

/// What `Fetcher.hash` yields.
struct HashedResponse : ResponseInfo {
  std::string digest;  ///< raw bytes
};

/// Makes the Python object of a result, or sets an exception; set by ext.cpp, which knows nanobind. GIL.
struct Converters {
  PyObject* (*response)(Response&&);
  PyObject* (*hashed)(HashedResponse&&);
  PyObject* (*info)(ResponseInfo&&);
  /// Takes it over, also on failure; a memoryview, whose memory lives while anybody sees it.
  PyObject* (*chunk)(hash::Chunk*);
};
void set_converters(const Converters& converters) noexcept;

using FetcherHandle = std::shared_ptr<pipeline::HashingFetcher>;
/// Of the capsule in which another extension module gets a FetcherHandle (offloop._ext.Fetcher.handle()).
inline constexpr const char* kFetcherCapsule = "offloop._ext.fetcher";

// Each returns a new Operation, or null with an exception set. GIL.
PyObject* start_get(const FetcherHandle& fetcher, fetch::Request request);
PyObject* start_get_bytes(const FetcherHandle& fetcher, fetch::Request request);
PyObject* start_hash(const FetcherHandle& fetcher, fetch::Request request, const hash::Algorithm& algorithm);
PyObject* start_stream_file(const FetcherHandle& fetcher, fetch::Request request, std::string path);
PyObject* start_stream_callback(const FetcherHandle& fetcher, fetch::Request request, PyObject* callback);
/// Yields a list with a hexadecimal digest or an exception for each URL; with `stop_on_error` the first failure ends
/// the others.
PyObject* start_hash_urls(const FetcherHandle& fetcher, std::vector<std::string> urls, unsigned max_concurrent,
                          double timeout_s, bool stop_on_error);

/// The exception of a fetch error, in the words of the documentation ("Fetch failed for URL: why"). GIL.
void set_fetch_error(Error error, const std::string& url);

}  // namespace offloop::python
