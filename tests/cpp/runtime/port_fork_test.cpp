// A port in a forked child: its eventfd is the parent's as well, its producers do not exist.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "offloop/runtime/port.h"
#include "support/child.h"
#include "support/counters_listener.h"
#include "support/gate.h"

namespace offloop::runtime {
namespace {

using testing::Gate;

void push(Port& port, PortItem& item) {
  port.accept(&item, &item);
}

Gate* g_inside = nullptr;
Gate* g_leave = nullptr;

TEST(PortInAForkedChild, UnrefDoesNotWaitForAProducerOfTheParent) {
  Gate inside, leave;
  g_inside = &inside;
  g_leave = &leave;
  Port* port = Port::create([](Port*) noexcept {
    g_inside->open();
    g_leave->wait();
  });
  ASSERT_NE(port, nullptr);
  port->close();
  PortItem item;
  std::thread producer([&] { push(*port, item); });
  inside.wait();
  const std::string end = testing::run_in_child([&] {
    port->unref();
    return 0;
  });
  leave.open();
  producer.join();
  EXPECT_EQ(end, "exit 0");
  port->unref();
}

TEST(PortInAForkedChild, CloseClosesByNumberAndWaitsForNobody) {
  Port* port = Port::create(nullptr);
  ASSERT_NE(port, nullptr);
  std::atomic<bool> enough{false};
  std::vector<std::thread> producers;
  std::vector<PortItem> items(2);
  for (PortItem& item : items) {
    producers.emplace_back([&] {
      while (!enough) {
        push(*port, item);
        while (!enough && port->drain() == nullptr) std::this_thread::yield();
      }
    });
  }
  for (unsigned i = 0; i < 40; ++i) {
    const std::string end = testing::run_in_child([&] {
      const int fd = port->fd();
      port->close();
      return ::fcntl(fd, F_GETFD) == -1 && errno == EBADF && port->fd() == -1 ? 0 : 1;
    });
    EXPECT_EQ(end, "exit 0");
  }
  enough = true;
  for (auto& producer : producers) producer.join();
  EXPECT_GE(::fcntl(port->fd(), F_GETFD), 0) << "the parent keeps its own";
  while (port->drain() != nullptr) {
  }
  port->unref();
}

TEST(PortInAForkedChild, NeitherTakesAWakeFromTheParentNorGivesOne) {
  const auto writes = [](const Port* port) {
    std::uint64_t count = 0;
    return ::read(port->fd(), &count, sizeof count) == sizeof count ? count : 0;
  };
  Port* port = Port::create(nullptr);
  ASSERT_NE(port, nullptr);
  PortItem a;
  push(*port, a);
  EXPECT_EQ(testing::run_in_child([&] { return port->drain() == &a ? 0 : 1; }), "exit 0");
  EXPECT_EQ(writes(port), 1U) << "the child has read the parent's counter";
  EXPECT_EQ(testing::run_in_child([&] {
              port->rearm();
              return 0;
            }),
            "exit 0");
  EXPECT_EQ(writes(port), 0U) << "the child has written to the parent's counter";
  EXPECT_EQ(port->drain(), &a);
  port->unref();
}

}  // namespace
}  // namespace offloop::runtime
