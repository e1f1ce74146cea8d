#include "offloop/runtime/port.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "support/counters_listener.h"

namespace offloop::runtime {
namespace {

struct Item : PortItem {
  unsigned producer = 0;
  unsigned number = 0;
};

std::atomic<int> g_orphaned{0};
void count_orphaned(Port*) noexcept {
  g_orphaned.fetch_add(1);
}

/// How often the eventfd was written since it was last read; 0 when it is not readable.
std::uint64_t writes(int fd) {
  std::uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

void push(Port& port, PortItem& item) {
  port.accept(&item, &item);
}

std::vector<PortItem*> drain(Port& port) {
  std::vector<PortItem*> items;
  for (PortItem* item = port.drain(); item != nullptr; item = item->next) items.push_back(item);
  return items;
}

class PortTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_orphaned = 0;
    port = Port::create(count_orphaned);
    ASSERT_NE(port, nullptr);
  }
  void TearDown() override { port->unref(); }
  Port* port = nullptr;
};

TEST_F(PortTest, DrainGivesOldestFirst) {
  Item a, b, c;
  push(*port, a);
  push(*port, b);
  push(*port, c);
  EXPECT_EQ(drain(*port), (std::vector<PortItem*>{&a, &b, &c}));
  EXPECT_TRUE(drain(*port).empty());
}

TEST_F(PortTest, ChainsLinkedNewestFirstComeOutInTheOrderOfEnding) {
  Item a, b, c, d;
  b.next = &a;  // a ended before b
  port->accept(&b, &a);
  d.next = &c;
  port->accept(&d, &c);
  EXPECT_EQ(drain(*port), (std::vector<PortItem*>{&a, &b, &c, &d}));
}

TEST_F(PortTest, TheEventfdIsWrittenOnTheEmptyEdgeOnly) {
  Item items[5];
  for (Item& item : items) push(*port, item);
  EXPECT_EQ(writes(port->fd()), 1U);
  EXPECT_EQ(drain(*port).size(), 5U);
  push(*port, items[0]);
  push(*port, items[1]);
  EXPECT_EQ(writes(port->fd()), 1U);
  EXPECT_EQ(drain(*port).size(), 2U);
}

TEST_F(PortTest, DrainEmptiesTheEventfd) {
  Item a;
  push(*port, a);
  EXPECT_EQ(drain(*port).size(), 1U);
  EXPECT_EQ(writes(port->fd()), 0U);
}

TEST_F(PortTest, DrainDoesNotTrustTheCount) {
  Item a;
  push(*port, a);
  EXPECT_EQ(writes(port->fd()), 1U);  // somebody else has read it
  EXPECT_EQ(drain(*port).size(), 1U);
}

TEST_F(PortTest, AnEventfdAtItsMaximumStillWakes) {
  const std::uint64_t full = UINT64_MAX - 1;
  ASSERT_EQ(::write(port->fd(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
  Item a;
  push(*port, a);  // the write cannot add: the fd is readable all the same
  pollfd readable{port->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 1);
  EXPECT_EQ(drain(*port).size(), 1U);
}

TEST_F(PortTest, RearmMakesTheLoopCallAgain) {
  EXPECT_EQ(writes(port->fd()), 0U);
  port->rearm();
  EXPECT_EQ(writes(port->fd()), 1U);
}

TEST_F(PortTest, CloseTellsTheOrphanedCallbackOnceForEachFilling) {
  Item a, b, c;
  port->close();
  EXPECT_TRUE(port->closed());
  EXPECT_EQ(port->fd(), -1);
  port->close();  // twice is once
  port->rearm();
  EXPECT_EQ(g_orphaned, 0);
  push(*port, a);
  push(*port, b);
  EXPECT_EQ(g_orphaned, 1);
  EXPECT_EQ(drain(*port), (std::vector<PortItem*>{&a, &b}));
  push(*port, c);
  EXPECT_EQ(g_orphaned, 2);
  EXPECT_EQ(drain(*port).size(), 1U);
}

TEST_F(PortTest, WhatWaitsAtCloseIsTakenByTheNextDrain) {
  Item a, b;
  push(*port, a);
  port->close();
  push(*port, b);  // no edge: the drain that follows every close finds it
  EXPECT_EQ(g_orphaned, 0);
  EXPECT_EQ(drain(*port).size(), 2U);
}

TEST(Port, CreateFailsCleanlyWithoutDescriptors) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  errno = 0;
  Port* refused = Port::create(count_orphaned);
  const int why = errno;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused, nullptr);
  EXPECT_EQ(why, EMFILE);
  Port* port = Port::create(count_orphaned);
  ASSERT_NE(port, nullptr);
  port->unref();
}

TEST(Port, TheLastReferenceClosesTheEventfd) {
  Port* port = Port::create(count_orphaned);
  const int fd = port->fd();
  port->ref();
  port->unref();
  EXPECT_GE(::fcntl(fd, F_GETFD), 0);
  port->unref();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_F(PortTest, EachItemOfManyProducersIsDeliveredOnceAndInItsProducersOrder) {
  constexpr unsigned kProducers = 8;
  constexpr unsigned kItems = 100'000;
  std::vector<std::vector<Item>> items(kProducers);
  std::vector<std::thread> threads;
  for (unsigned p = 0; p < kProducers; ++p) {
    items[p] = std::vector<Item>(kItems);
    threads.emplace_back([&, p] {
      for (unsigned i = 0; i < kItems; ++i) {
        items[p][i].producer = p;
        items[p][i].number = i;
        push(*port, items[p][i]);
      }
    });
  }
  unsigned next[kProducers] = {};
  bool in_order = true;
  for (unsigned seen = 0; seen < kProducers * kItems;) {
    pollfd readable{port->fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&readable, 1, 60'000), 1) << "a wake was lost after " << seen << " items";
    for (PortItem* each = port->drain(); each != nullptr; each = each->next, ++seen) {
      const auto& item = static_cast<Item&>(*each);
      in_order = in_order && next[item.producer] == item.number;
      next[item.producer] = item.number + 1;
    }
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(in_order);
  EXPECT_TRUE(drain(*port).empty());
}

TEST_F(PortTest, NoWakeIsLostWhenNearlyEachPushIsAnEdge) {
  constexpr unsigned kProducers = 3;
  constexpr unsigned kRounds = 20'000;
  struct Ball : Item {
    std::atomic<bool> back{true};
  };
  Ball balls[kProducers];
  std::vector<std::thread> threads;
  for (Ball& ball : balls) {
    threads.emplace_back([&] {
      for (unsigned i = 0; i < kRounds; ++i) {
        while (!ball.back.load(std::memory_order_acquire)) std::this_thread::yield();
        ball.back.store(false, std::memory_order_relaxed);
        push(*port, ball);
      }
    });
  }
  for (unsigned seen = 0; seen < kProducers * kRounds;) {
    pollfd readable{port->fd(), POLLIN, 0};
    if (::poll(&readable, 1, 20'000) != 1) {
      ADD_FAILURE() << "a wake was lost after " << seen << " items";
      port->rearm();
    }
    for (PortItem* each = port->drain(); each != nullptr; ++seen) {
      PortItem* next = each->next;
      static_cast<Ball*>(each)->back.store(true, std::memory_order_release);
      each = next;
    }
  }
  for (auto& thread : threads) thread.join();
}

// The fd's number belongs to somebody else as soon as close() has returned: here to another eventfd, the trap.
TEST(Port, NothingTouchesTheEventfdAfterClose) {
  constexpr unsigned kProducers = 4;
  constexpr unsigned kItems = 200;
  for (unsigned round = 0; round < 200; ++round) {
    g_orphaned = 0;
    Port* port = Port::create(count_orphaned);
    ASSERT_NE(port, nullptr);
    std::vector<Item> items(kProducers * kItems);
    std::atomic<unsigned> pushed{0};
    std::vector<std::thread> threads;
    for (unsigned p = 0; p < kProducers; ++p) {
      threads.emplace_back([&, p] {
        for (unsigned i = 0; i < kItems; ++i) {
          push(*port, items[p * kItems + i]);
          pushed.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
    std::size_t delivered = 0;
    while (pushed.load(std::memory_order_relaxed) < round * kProducers * kItems / 250) delivered += drain(*port).size();
    const int fd = port->fd();
    port->close();
    const int trap = ::eventfd(0, EFD_NONBLOCK);
    ASSERT_GE(trap, 0);
    if (trap != fd) {
      ASSERT_EQ(::dup2(trap, fd), fd);
    }
    delivered += drain(*port).size();
    while (pushed.load(std::memory_order_relaxed) < kProducers * kItems) delivered += drain(*port).size();
    for (auto& thread : threads) thread.join();
    delivered += drain(*port).size();
    EXPECT_EQ(delivered, kProducers * kItems);
    EXPECT_EQ(writes(fd), 0U) << "a producer wrote to a descriptor that was no longer the port's, round " << round;
    ::close(fd);
    if (trap != fd) ::close(trap);
    port->unref();
  }
}

TEST(Port, TheLastUnrefWaitsForAProducerThatIsStillInside) {
  for (unsigned round = 0; round < 2000; ++round) {
    Port* port = Port::create(count_orphaned);
    ASSERT_NE(port, nullptr);
    Item item;
    std::thread producer([&] { push(*port, item); });
    while (port->drain() == nullptr) std::this_thread::yield();
    port->unref();  // as the delivery of the loop's last operation does; under ASan a producer that comes late is a
                    // crash
    producer.join();
  }
}

}  // namespace
}  // namespace offloop::runtime
