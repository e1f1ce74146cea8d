// Closing and forking.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "support/fetch_probe.h"
#include "support/scripted_server.h"

namespace offloop::fetch {
namespace {

using testing::Connection;
using testing::Counter;
using testing::fetch_one;
using testing::FetchProbe;
using testing::Gate;
using testing::get;
using testing::HttpRequest;
using testing::make_fetcher;
using testing::ScriptedServer;
using testing::start_all;

TEST(Close, EndsAHundredRunningAndAllQueued) {
  ScriptedServer server;
  Counter arrived, gone;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    if (c.wait_until_client_closes()) gone.add();
    c.close();
  });
  FetcherOptions options;
  options.io_threads = 2;
  options.max_concurrent = 100;
  options.timeout = 60;
  const auto fetcher = make_fetcher(options);
  std::deque<FetchProbe> probes;
  start_all(*fetcher, std::vector<std::string>(150, server.url("/")), probes);
  ASSERT_TRUE(arrived.wait_for_at_least(100));
  EXPECT_TRUE(fetcher->close(true, 60));
  for (FetchProbe& probe : probes) {
    EXPECT_EQ(probe.dones.load(), 1) << "every on_done has returned before close()";
    EXPECT_EQ(probe.error.code, ErrorCode::kStopped);
  }
  EXPECT_TRUE(gone.wait_for_at_least(100)) << "the origin sees the connections close";
  FetchProbe late;
  const auto refused = fetcher->start(get(server.url("/")), &late);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kPoolClosed);
  EXPECT_EQ(late.dones.load(), 0);
  EXPECT_TRUE(fetcher->close());
}

TEST(Close, WithoutUseStartsAndEndsNothing) {
  const auto fetcher = make_fetcher();
  EXPECT_TRUE(fetcher->close());
  FetchProbe probe;
  EXPECT_EQ(fetcher->start(get("http://127.0.0.1:1/"), &probe).error().code, ErrorCode::kPoolClosed);
}

TEST(Close, IsBoundedWhenAConsumerBlocks) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  Gate entered, go;
  auto probe = std::make_unique<FetchProbe>();
  probe->decide = [&](ByteSpan) {
    entered.open();
    go.wait();
    return Flow::kContinue;
  };
  auto fetcher = make_fetcher();
  ASSERT_TRUE(fetcher->start(get(server.url("/")), probe.get()).ok());
  ASSERT_TRUE(entered.wait());
  EXPECT_FALSE(fetcher->close(true, 0.01));
  fetcher.reset();
  go.open();  // the thread that was left alone ends by itself
  probe->wait();
}

TEST(Close, FromACallbackDoesNotWaitForItself) {
  ScriptedServer server;
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  auto fetcher = make_fetcher();
  FetchProbe probe;
  probe.when_done = [&] { fetcher.reset(); };
  ASSERT_TRUE(fetcher->start(get(server.url("/")), &probe).ok());
  EXPECT_EQ(probe.wait(), ErrorCode::kOk);
}

TEST(Close, AllFetchersOfTheProcess) {
  ScriptedServer server;
  Counter arrived;
  server.on("/", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    c.wait_until_client_closes();
    c.close();
  });
  const auto one = make_fetcher();
  const auto two = make_fetcher();
  FetchProbe first, second;
  ASSERT_TRUE(one->start(get(server.url("/")), &first).ok());
  ASSERT_TRUE(two->start(get(server.url("/")), &second).ok());
  ASSERT_TRUE(arrived.wait_for_at_least(2));
  close_all_fetchers();
  EXPECT_EQ(first.wait(), ErrorCode::kStopped);
  EXPECT_EQ(second.wait(), ErrorCode::kStopped);
}

TEST(Fork, TheChildIsRefusedAndItsCleanUpLeavesTheParentAlone) {
  ScriptedServer server;
  Gate go;
  Counter arrived;
  server.on("/held", [&](Connection& c, const HttpRequest&) {
    arrived.add();
    go.wait();
    c.reply(200, "after the fork");
  });
  server.on("/", [](Connection& c, const HttpRequest&) { c.reply(200, "x"); });
  auto fetcher = make_fetcher();
  fetch_one(*fetcher, server.url("/"));  // an idle connection besides the running one
  FetchProbe running;
  ASSERT_TRUE(fetcher->start({server.url("/held"), Method::kGet, {}, 60.0, {}}, &running).ok());
  ASSERT_TRUE(arrived.wait_for_at_least(1));

  const pid_t child = fork();
  if (child == 0) {
    FetchProbe probe;
    const auto refused = fetcher->start(get(server.url("/")), &probe);
    int wrong = 0;
    if (refused.ok() || refused.error().code != ErrorCode::kPoolClosed) wrong |= 1;
    if (!refused.ok() && refused.error().message.find("fork") == std::string::npos) wrong |= 2;
    fetcher->cancel(1);
    fetcher->resume(1);
    fetcher->close();
    if (fetcher->stats().running != 0) wrong |= 4;
    fetcher.reset();
    close_all_fetchers();
    _exit(wrong);
  }
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  go.open();
  EXPECT_EQ(running.wait(), ErrorCode::kOk) << running.error.message;
  EXPECT_EQ(running.body, "after the fork");
  EXPECT_EQ(fetch_one(*fetcher, server.url("/"))->body, "x");
}

}  // namespace
}  // namespace offloop::fetch
