// A BodyConsumer that writes down what it was told, checks the order of calls, and can be waited for.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "offloop/fetch/fetcher.h"
#include "support/scripted_server.h"

namespace offloop::testing {

class FetchProbe final : public fetch::BodyConsumer {
 public:
  /// Decides about each piece; default: take it. [I/O thread]
  std::function<fetch::Flow(ByteSpan)> decide;
  std::function<void()> when_done;

  void on_started() override {
    EXPECT_EQ(starts.fetch_add(1), 0) << "on_started twice";
    EXPECT_EQ(dones.load(), 0) << "on_started after on_done";
  }

  void on_response(const fetch::ResponseHead& head) override {
    EXPECT_EQ(starts.load(), 1) << "on_response before on_started";
    EXPECT_EQ(responses.fetch_add(1), 0) << "on_response twice";
    EXPECT_EQ(dones.load(), 0) << "on_response after on_done";
    status = head.status;
    final_url = head.final_url;
    content_length = head.content_length;
  }

  fetch::Flow on_body(ByteSpan bytes) override {
    EXPECT_EQ(dones.load(), 0) << "on_body after on_done";
    EXPECT_EQ(responses.load(), 1) << "on_body before on_response";
    EXPECT_FALSE(bytes.empty());
    const fetch::Flow flow = decide ? decide(bytes) : fetch::Flow::kContinue;
    if (flow == fetch::Flow::kContinue) body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (flow == fetch::Flow::kPause) paused.add();
    return flow;
  }

  void on_done(Result<fetch::TransferInfo> result) override {
    EXPECT_EQ(dones.fetch_add(1), 0) << "on_done twice";
    if (result) {
      EXPECT_EQ(starts.load(), 1) << "success without on_started";
      info = std::move(result).value();
    } else {
      error = std::move(result).error();
    }
    if (when_done) when_done();
    done.open();
  }

  /// The error's code after the end, kOk for success.
  ErrorCode wait() {
    EXPECT_TRUE(done.wait()) << "on_done did not come";
    return error.code;
  }

  // Read after wait().
  std::string body;
  int status = 0;
  std::string final_url;
  std::int64_t content_length = -2;
  std::optional<fetch::TransferInfo> info;
  Error error;

  std::atomic<int> starts{0};
  std::atomic<int> responses{0};
  std::atomic<int> dones{0};
  Counter paused;
  Gate done;
};

inline std::unique_ptr<fetch::Fetcher> make_fetcher(fetch::FetcherOptions options = {}) {
  auto fetcher = fetch::Fetcher::create(std::move(options));
  if (!fetcher) {
    ADD_FAILURE() << fetcher.error().message;
    return nullptr;
  }
  return std::move(fetcher).value();
}

/// Fetches one URL and waits.
inline std::unique_ptr<FetchProbe> fetch_one(fetch::Fetcher& fetcher, fetch::Request request) {
  auto probe = std::make_unique<FetchProbe>();
  const auto id = fetcher.start(request, probe.get());
  if (!id) {
    ADD_FAILURE() << id.error().message;
    return probe;
  }
  probe->wait();
  return probe;
}

inline std::unique_ptr<FetchProbe> fetch_one(fetch::Fetcher& fetcher, const std::string& url) {
  return fetch_one(fetcher, fetch::Request{url, fetch::Method::kGet, {}, {}, {}});
}

inline fetch::Request get(const std::string& url) {
  return {url, fetch::Method::kGet, {}, {}, {}};
}

inline std::vector<fetch::TransferId> start_all(fetch::Fetcher& fetcher, const std::vector<std::string>& urls,
                                                std::deque<FetchProbe>& probes) {
  std::vector<fetch::Fetcher::Start> starts;
  for (const std::string& url : urls) starts.push_back({get(url), &probes.emplace_back()});
  std::vector<fetch::TransferId> ids;
  for (const auto& id : fetcher.start_many(starts)) {
    EXPECT_TRUE(id.ok());
    ids.push_back(id.ok() ? id.value() : 0);
  }
  return ids;
}

/// Counts the requests that are being answered. Ends the count before the last byte, which lets the client go on.
struct CountedHandler {
  Counter running;
  Counter arrived;
  Gate go;
  void operator()(Connection& c, const HttpRequest&) {
    running.add(1);
    arrived.add(1);
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    go.wait();
    running.add(-1);
    c.send("b");
  }
};

}  // namespace offloop::testing
