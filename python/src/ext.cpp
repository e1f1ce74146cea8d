// offloop._ext: what is not on the hot path, by nanobind. Loaded with the first use of offloop.fetch.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <string_view>

#include "cast.h"
#include "fetch_cores.h"
#include "offloop/fetch/options.h"
#include "offloop/fetch/url.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace offloop::python {
namespace {

/// A body's bytes, for memoryview(): the memory lives as long as anybody looks at it.
struct Body {
  std::shared_ptr<fetch::OwnedBytes> bytes;
};

int body_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  const Body* body = nb::inst_ptr<Body>(self);
  const ByteSpan span = body->bytes->span();
  static std::uint8_t empty = 0;
  void* data = span.empty() ? &empty : const_cast<std::uint8_t*>(span.data());
  return PyBuffer_FillInfo(view, self, data, static_cast<Py_ssize_t>(span.size()), 1, flags);
}

PyType_Slot g_body_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(body_getbuffer)}, {0, nullptr}};

/// A piece of a body on its way past a function. A slice of the memoryview shares its hold on this object, not on the
/// view: so the memory belongs to the object, and whatever was made of the view keeps it.
struct Chunk {
  explicit Chunk(hash::Chunk* memory) noexcept : chunk(memory) {}
  Chunk(Chunk&& other) noexcept : chunk(std::exchange(other.chunk, nullptr)) {}
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;
  ~Chunk() {
    if (chunk != nullptr) hash::free_chunk(chunk);
  }
  hash::Chunk* chunk;
};

int chunk_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  hash::Chunk* chunk = nb::inst_ptr<Chunk>(self)->chunk;
  return PyBuffer_FillInfo(view, self, chunk->data(), static_cast<Py_ssize_t>(chunk->size), 1, flags);
}

PyType_Slot g_chunk_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(chunk_getbuffer)}, {0, nullptr}};

/// What came over the wire as str: UTF-8 where it is, else one character a byte, as HTTP once said. Never fails.
nb::object text_of(const std::string& bytes) {
  const auto size = static_cast<Py_ssize_t>(bytes.size());
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), size, nullptr);
  if (text == nullptr && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
    PyErr_Clear();
    text = PyUnicode_DecodeLatin1(bytes.data(), size, nullptr);
  }
  if (text == nullptr) throw nb::python_error();
  return nb::steal(text);
}

nb::list headers_of(const ResponseInfo& info) {
  nb::list list;
  for (const auto& [name, value] : info.headers) list.append(nb::make_tuple(text_of(name), text_of(value)));
  return list;
}

nb::object body_of(const Response& response) {
  return nb::steal(PyMemoryView_FromObject(nb::cast(Body{response.body}).ptr()));
}

/// Raises what set_error has set, or hands the new object on.
nb::object checked(PyObject* object) {
  if (object == nullptr) throw nb::python_error();
  return nb::steal(object);
}

[[noreturn]] void raise(const Error& error, const std::string& url) {
  set_fetch_error(error, url);
  throw nb::python_error();
}

/// Its methods hold the object's lock (nb::lock_self(), nothing with the GIL): one thread may close what another one
/// uses.
struct FetcherObject {
  FetcherHandle handle;

  [[nodiscard]] const FetcherHandle& open() const {
    if (handle == nullptr) {
      core_api()->set_error(Error(ErrorCode::kPoolClosed, "the fetcher is closed"));
      throw nb::python_error();
    }
    return handle;
  }
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// What comes with every request is taken as Python's own object or a view of it and copied here: nanobind's conversions
// to std::string and std::vector end the process where there is no memory.

/// Pairs of str, as offloop.fetch has checked.
std::vector<fetch::Header> headers_from(const nb::list& pairs) {
  std::vector<fetch::Header> out;
  out.reserve(pairs.size());
  for (nb::handle pair : pairs)
    out.push_back({std::string(nb::cast<std::string_view>(pair[0])), std::string(nb::cast<std::string_view>(pair[1]))});
  return out;
}

fetch::Request request_of(std::string_view url, const nb::list& headers, std::optional<double> timeout,
                          std::optional<std::uint64_t> max_body) {
  fetch::Request request;
  request.url = url;
  if (Result<Unit> valid = fetch::check_url(request.url); !valid.ok()) raise(valid.error(), request.url);
  request.headers = headers_from(headers);
  request.timeout = timeout;
  request.max_body = max_body;
  return request;
}

nb::dict timings_of(const ResponseInfo& info) {
  const auto seconds = [](std::int64_t ns) { return static_cast<double>(ns) * 1e-9; };
  nb::dict d;
  d["queue"] = seconds(info.timings.queue_ns);
  d["dns"] = seconds(info.timings.dns_ns);
  d["connect"] = seconds(info.timings.connect_ns);
  d["tls"] = seconds(info.timings.tls_ns);
  d["first_byte"] = seconds(info.timings.first_byte_ns);
  d["total"] = seconds(info.timings.total_ns);
  return d;
}

PyObject* convert_response(Response&& response) {
  return cast_or_null(std::move(response));
}
PyObject* convert_hashed(HashedResponse&& response) {
  return cast_or_null(std::move(response));
}
PyObject* convert_info(ResponseInfo&& info) {
  return cast_or_null(std::move(info));
}
PyObject* convert_chunk(hash::Chunk* memory) {
  const Ref owner(cast_or_null(Chunk(memory)));
  return owner ? PyMemoryView_FromObject(owner.get()) : nullptr;
}

template <class Class>
void bind_info(Class& cls) {
  cls.def_ro("status", &ResponseInfo::status, "HTTP status.")
      .def_prop_ro(
          "final_url", [](const ResponseInfo& info) { return text_of(info.final_url); },
          "Where it was found, after redirects.")
      .def_prop_ro("headers", headers_of, "(name, value) pairs in the order of arrival.")
      .def_ro("redirects", &ResponseInfo::redirects, "How many were followed.")
      .def_ro("peer_ip", &ResponseInfo::peer_ip, "Address of the server.")
      .def_ro("http_version", &ResponseInfo::http_version, "'1.0', '1.1' or '2'.")
      .def_ro("reused_connection", &ResponseInfo::reused_connection, "True on a kept-alive connection.")
      .def_ro("size", &ResponseInfo::size, "Body bytes, decoded.")
      .def_prop_ro("timings", timings_of, "Seconds: queue, dns, connect, tls, first_byte, total.")
      .def_prop_ro(
          "elapsed", [](const ResponseInfo& info) { return static_cast<double>(info.timings.total_ns) * 1e-9; },
          "Seconds from leaving the queue to the last byte.")
      .def(
          "header",
          [](const ResponseInfo& info, const std::string& name, nb::object otherwise) -> nb::object {
            for (const auto& [key, value] : info.headers) {
              if (key.size() == name.size() && strcasecmp(key.c_str(), name.c_str()) == 0) return text_of(value);
            }
            return otherwise;
          },
          "name"_a, "default"_a = nb::none(), "The first header of that name, in any case.");
}

}  // namespace

NB_MODULE(_ext, m) {
  m.doc() = "Fetching, for offloop.fetch.";
  if (core_api() == nullptr) throw nb::python_error();
  nb::set_leak_warnings(false);  // the module's own fetcher lives to the end of the process, by design
  set_converters({convert_response, convert_hashed, convert_info, convert_chunk});

  nb::class_<Body>(m, "Body", nb::type_slots(g_body_slots));
  nb::class_<Chunk>(m, "Chunk", nb::type_slots(g_chunk_slots));
  auto info = nb::class_<ResponseInfo>(m, "ResponseInfo");
  bind_info(info);
  info.def("__repr__", [](const ResponseInfo& r) {
    return text_of("<offloop.fetch.ResponseInfo [" + std::to_string(r.status) + "] " + r.final_url + ">");
  });
  nb::class_<Response, ResponseInfo>(m, "Response")
      .def_prop_ro("body", body_of, "The decoded body as a read-only memoryview; no copy.")
      .def(
          "read", [](const Response& r) { return nb::bytes(r.body->span().data(), r.body->size()); },
          "The decoded body as bytes, a copy.")
      .def(
          "text",
          [](const Response& r, const std::string& encoding, const std::string& errors) {
            return nb::steal(PyUnicode_Decode(reinterpret_cast<const char*>(r.body->span().data()),
                                              static_cast<Py_ssize_t>(r.body->size()), encoding.c_str(),
                                              errors.c_str()));
          },
          "encoding"_a = "utf-8", "errors"_a = "strict", "The decoded body as str.")
      .def("__repr__", [](const Response& r) {
        return text_of("<offloop.fetch.Response [" + std::to_string(r.status) + "] " + r.final_url + ">");
      });
  nb::class_<HashedResponse, ResponseInfo>(m, "HashedResponse")
      .def_prop_ro(
          "digest", [](const HashedResponse& r) { return nb::bytes(r.digest.data(), r.digest.size()); },
          "The digest, raw bytes.")
      .def_prop_ro(
          "hexdigest",
          [](const HashedResponse& r) {
            return to_hex({reinterpret_cast<const std::uint8_t*>(r.digest.data()), r.digest.size()});
          },
          "The digest in hexadecimal digits.")
      .def("__repr__", [](const HashedResponse& r) {
        return text_of("<offloop.fetch.HashedResponse [" + std::to_string(r.status) + "] " + r.final_url + ">");
      });

  nb::enum_<fetch::AddressMode>(m, "AddressMode")
      .value("allow_all", fetch::AddressMode::kAllowAll)
      .value("public_only", fetch::AddressMode::kPublicOnly);

  nb::class_<fetch::FetcherOptions>(m, "FetcherOptions")
      .def(nb::init<>())
      .def_rw("io_threads", &fetch::FetcherOptions::io_threads)
      .def_rw("max_concurrent", &fetch::FetcherOptions::max_concurrent)
      .def_rw("per_host", &fetch::FetcherOptions::per_host)
      .def_rw("connect_timeout", &fetch::FetcherOptions::connect_timeout)
      .def_rw("timeout", &fetch::FetcherOptions::timeout)
      .def_rw("low_speed_bytes", &fetch::FetcherOptions::low_speed_bytes)
      .def_rw("low_speed_time", &fetch::FetcherOptions::low_speed_time)
      .def_rw("max_redirects", &fetch::FetcherOptions::max_redirects)
      .def_rw("max_body", &fetch::FetcherOptions::max_body)
      .def_rw("fail_on_status", &fetch::FetcherOptions::fail_on_status)
      .def_rw("verify_tls", &fetch::FetcherOptions::verify_tls)
      .def_rw("ca_file", &fetch::FetcherOptions::ca_file)
      .def_rw("decompress", &fetch::FetcherOptions::decompress)
      .def_rw("http2", &fetch::FetcherOptions::http2)
      .def_rw("user_agent", &fetch::FetcherOptions::user_agent)
      .def_rw("env_proxy", &fetch::FetcherOptions::env_proxy)
      .def_rw("addresses", &fetch::FetcherOptions::addresses)
      .def_rw("allow_cidrs", &fetch::FetcherOptions::allow_cidrs)
      .def_rw("deny_cidrs", &fetch::FetcherOptions::deny_cidrs)
      .def_rw("resolve", &fetch::FetcherOptions::resolve)
      .def_prop_rw(
          "headers",
          [](const fetch::FetcherOptions& o) {
            HeaderList list;
            for (const fetch::Header& header : o.headers) list.emplace_back(header.name, header.value);
            return list;
          },
          [](fetch::FetcherOptions& o, const nb::list& pairs) { o.headers = headers_from(pairs); });

  nb::class_<FetcherObject>(m, "Fetcher")
      .def(
          "__init__",
          [](FetcherObject* self, const fetch::FetcherOptions& options) {
            Result<std::unique_ptr<pipeline::HashingFetcher>> made = pipeline::HashingFetcher::create(options);
            if (!made.ok()) {
              core_api()->set_error(made.error());
              throw nb::python_error();
            }
            new (self) FetcherObject{FetcherHandle(std::move(made).value())};
          },
          "options"_a)
      .def(
          "get",
          [](const FetcherObject& self, std::string_view url, const nb::list& headers, std::optional<double> timeout,
             std::optional<std::uint64_t> max_body, bool bytes_only) {
            fetch::Request request = request_of(url, headers, timeout, max_body);
            return checked(bytes_only ? start_get_bytes(self.open(), std::move(request))
                                      : start_get(self.open(), std::move(request)));
          },
          "url"_a, "headers"_a, "timeout"_a.none(), "max_body"_a.none(), "bytes_only"_a, nb::lock_self())
      .def(
          "hash",
          [](const FetcherObject& self, std::string_view url, std::string_view algorithm, const nb::list& headers,
             std::optional<double> timeout, std::optional<std::uint64_t> max_body) {
            Result<const hash::Algorithm*> found = hash::Algorithm::find(algorithm);
            if (!found.ok()) raise(found.error(), std::string(url));
            fetch::Request request = request_of(url, headers, timeout, max_body);
            return checked(start_hash(self.open(), std::move(request), *found.value()));
          },
          "url"_a, "algorithm"_a, "headers"_a, "timeout"_a.none(), "max_body"_a.none(), nb::lock_self())
      .def(
          "stream",
          [](const FetcherObject& self, std::string_view url, nb::object sink, const nb::list& headers,
             std::optional<double> timeout, std::optional<std::uint64_t> max_body) {
            fetch::Request request = request_of(url, headers, timeout, max_body);
            if (nb::isinstance<nb::bytes>(sink)) {
              const auto path = nb::cast<nb::bytes>(sink);
              return checked(
                  start_stream_file(self.open(), std::move(request), std::string(path.c_str(), path.size())));
            }
            return checked(start_stream_callback(self.open(), std::move(request), sink.ptr()));
          },
          "url"_a, "sink"_a, "headers"_a, "timeout"_a.none(), "max_body"_a.none(), nb::lock_self())
      .def(
          "hash_urls",
          [](const FetcherObject& self, const nb::list& given, unsigned max_concurrent, double timeout,
             bool stop_on_error) {
            std::vector<std::string> urls;
            urls.reserve(given.size());
            for (nb::handle url : given) urls.emplace_back(nb::cast<std::string_view>(url));
            return checked(start_hash_urls(self.open(), std::move(urls), max_concurrent, timeout, stop_on_error));
          },
          "urls"_a, "max_concurrent"_a, "timeout"_a, "stop_on_error"_a, nb::lock_self())
      .def(
          "stats",
          [](const FetcherObject& self) {
            const fetch::FetcherStats stats = self.open()->fetcher().stats();
            nb::dict d;
            d["queued"] = stats.queued;
            d["running"] = stats.running;
            d["done"] = stats.done;
            d["failed"] = stats.failed;
            d["stopped"] = stats.stopped;
            d["body_bytes"] = stats.body_bytes;
            d["connections_opened"] = stats.connections_opened;
            d["wakes"] = stats.wakes;
            d["lookups"] = stats.lookups;
            return d;
          },
          nb::lock_self())
      .def(
          "close",
          [](FetcherObject& self) {
            if (self.handle != nullptr) self.handle->fetcher().close(false);
            self.handle.reset();
          },
          nb::lock_self())
      .def(
          "handle",
          [](const FetcherObject& self) {
            auto* handle = new FetcherHandle(self.open());
            return nb::capsule(handle, kFetcherCapsule,
                               [](void* owned) noexcept { delete static_cast<FetcherHandle*>(owned); });
          },
          nb::lock_self(), "For offloop._image: shares the fetcher.")
      .def_prop_ro(
          "closed", [](const FetcherObject& self) { return self.handle == nullptr; }, nb::lock_self());

  m.def("check_url", [](std::string_view given) {
    const std::string url(given);
    if (Result<Unit> valid = fetch::check_url(url); !valid.ok()) raise(valid.error(), url);
  });
  m.def(
      "close_all", [] { fetch::close_all_fetchers(); }, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace offloop::python
