// The port's protocol in small programs: producers, a loop, a fork, an end. port_model_test.cpp explores them.
#pragma once

#include <memory>
#include <new>
#include <optional>

#include "model/explorer/model_atomics.h"
#include "offloop/runtime/port_protocol.h"

namespace offloop::model {

using runtime::PortOrders;
using runtime::PortProtocol;

struct Item {
  Plain<Item*> next{nullptr};
  Plain<int> value{0};
  int delivered = 0;  ///< by the loop
};

/// What is outside of the port: the kernel's counter, the pending call that stands in for a closed loop, the fork's
/// generation.
struct World {
  EventFd eventfd;
  EventFd pending_call;
  std::uint32_t generation = 0;
};
inline World* g_world = nullptr;

struct Outside {
  static void signal(int fd) { open(fd).write(); }
  static void clear(int fd) { (void)open(fd).read(); }
  static void close(int fd) { open(fd).close(); }
  static std::uint32_t fork_generation() { return g_world->generation; }
  static void yield() { model::yield(); }

 private:
  static EventFd& open(int fd) {
    Explorer::current().require(fd == 7, "a descriptor is used that is none");
    return g_world->eventfd;
  }
};

template <class Orders = PortOrders, class System = Outside>
struct Real : PortProtocol<ModelAtomics, Item, System, Orders> {
  Real() : PortProtocol<ModelAtomics, Item, System, Orders>(7) {
    this->head_.bits().name("head");
    this->producers_.bits().name("producers");
    this->closed_.bits().name("closed");
    this->refs_.bits().name("refs");
  }
};

template <class Port>
struct Program {
  static constexpr int kItems = 4;

  World world;
  Item items[kItems];
  std::optional<Port> port;

  explicit Program() {
    g_world = &world;
    port.emplace();
  }

  void push(int i) {
    items[i].value = i + 1;
    port->push(&items[i], &items[i], [this] { world.pending_call.write(); });
  }
  /// As one burst ends: two items in one chain, newest first.
  void push_chain(int older, int newer) {
    items[older].value = older + 1;
    items[newer].value = newer + 1;
    items[newer].next = &items[older];
    port->push(&items[newer], &items[older], [this] { world.pending_call.write(); });
  }
  int deliver(Item* item) {
    int n = 0;
    for (; item != nullptr; item = item->next, ++n) {
      ++item->delivered;
      Explorer::current().require(item->value == static_cast<int>(item - items) + 1,
                                  "an item came without its contents");
    }
    return n;
  }
  void each_delivered_once(int n) {
    for (int i = 0; i < n; ++i) {
      Explorer::current().require(items[i].delivered != 0, "an item was lost");
      Explorer::current().require(items[i].delivered == 1, "an item was delivered twice");
    }
  }
};

/// Two producers, one of which pushes twice, and a loop that sleeps in poll until it has everything.
template <class Port>
void producers_and_loop(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  e.thread("producer A", [p] {
    p->push(0);
    p->push(1);
  });
  e.thread("producer B", [p] { p->push_chain(2, 3); });
  e.thread("loop", [p] {
    for (int seen = 0; seen < 4;) {
      p->world.eventfd.poll();
      seen += p->deliver(p->port->drain());
    }
  });
  e.at_end([p] { p->each_delivered_once(4); });
}

/// A loop that has delivered some of what it drained and makes itself be called again for the rest.
template <class Port>
void drain_in_two_turns(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  e.thread("producer A", [p] { p->push_chain(0, 1); });
  e.thread("producer B", [p] { p->push(2); });
  e.thread("loop", [p] {
    Item* ready = nullptr;
    for (int seen = 0; seen < 3;) {
      p->world.eventfd.poll();
      Item* fresh = p->port->drain();
      if (ready != nullptr) {
        Item* last = ready;
        while (last->next != nullptr) last = last->next;
        last->next = fresh;
      } else {
        ready = fresh;
      }
      if (ready == nullptr) continue;
      Item* one = ready;
      ready = one->next;
      one->next = nullptr;
      seen += p->deliver(one);
      if (ready != nullptr) p->port->rearm();
    }
  });
  e.at_end([p] { p->each_delivered_once(3); });
}

/// The loop closes the port while producers push; what comes after that is announced by the pending call.
template <class Port>
void close_while_pushing(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  e.thread("producer A", [p] { p->push(0); });
  e.thread("producer B", [p] {
    p->push(1);
    p->push(2);
  });
  e.thread("loop", [p] {
    int seen = p->deliver(p->port->drain());
    p->port->close();
    seen += p->deliver(p->port->drain());
    while (seen < 3) {
      p->world.pending_call.poll();
      (void)p->world.pending_call.read();
      seen += p->deliver(p->port->drain());
    }
    p->port->rearm();
  });
  e.at_end([p] { p->each_delivered_once(3); });
}

/// The loop's last delivery drops the last reference, while a producer may still be inside.
template <class Port>
void end_after_the_last_item(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  e.thread("producer A", [p] { p->push(0); });
  e.thread("producer B", [p] { p->push(1); });
  e.thread("loop", [p] {
    for (int seen = 0; seen < 2;) {
      p->world.eventfd.poll();
      seen += p->deliver(p->port->drain());
    }
    if (p->port->unref()) p->port.reset();
  });
  e.at_end([p] {
    p->each_delivered_once(2);
    Explorer::current().require(!p->port.has_value(), "the port was never freed");
  });
}

/// Several hold a reference; whoever drops the last one frees the port.
template <class Port>
void end_by_whoever_is_last(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  p->port->ref();
  e.thread("producer", [p] {
    p->push(0);
    if (p->port->unref()) p->port.reset();
  });
  e.thread("loop", [p] {
    (void)p->deliver(p->port->drain());
    p->port->close();
    (void)p->deliver(p->port->drain());
    if (p->port->unref()) p->port.reset();
  });
  e.at_end([p] { Explorer::current().require(!p->port.has_value(), "the port was never freed"); });
}

/// The loop's thread forks at any moment; the child has no producers, and its descriptor is the parent's too.
template <class Port>
void fork_while_pushing(Explorer& e) {
  auto p = std::make_shared<Program<Port>>();
  e.thread("producer A", [p] { p->push(0); });
  e.thread("producer B", [p] { p->push(1); });
  e.thread("loop", [p] {
    (void)p->deliver(p->port->drain());
    Explorer::current().fork();
    ++p->world.generation;
    (void)p->deliver(p->port->drain());
    p->port->rearm();
    p->port->close();
    (void)p->deliver(p->port->drain());
    if (p->port->unref()) p->port.reset();
  });
  e.at_end([p] { Explorer::current().require(!p->port.has_value(), "the port was never freed"); });
}

}  // namespace offloop::model
