#include "model/explorer/memory.h"

#include <algorithm>

namespace offloop::model {

void Memory::reset() {
  for (unsigned i = 0; i < count; ++i) {
    std::vector<Message> keep = std::move(locations[i].messages);
    keep.clear();
    locations[i] = Location{};
    locations[i].messages = std::move(keep);
  }
  count = 0;
  threads.fill(Thread{});
}

unsigned Memory::add(unsigned thread, std::uint64_t value) {
  const unsigned location = count++;
  Location& l = locations[location];
  l.alive = true;
  l.hash = 1;
  append(thread, location, value, std::memory_order_relaxed, nullptr);
  return location;
}

bool Memory::remove(unsigned thread, unsigned location) {
  Location& l = locations[location];
  l.alive = false;
  for (unsigned other = 0; other < kMaxThreads; ++other)
    if (!happened_before(thread, other, l.last_access[other])) return false;
  return true;
}

unsigned Memory::oldest_readable(unsigned thread, unsigned location, std::memory_order order) const {
  const Location& l = locations[location];
  const unsigned floor = threads[thread].known.floor[location];
  return order == std::memory_order_seq_cst ? std::max(floor, l.sc_floor) : floor;
}

std::uint64_t Memory::read(unsigned thread, unsigned location, unsigned index, std::memory_order order) {
  Location& l = locations[location];
  Thread& t = threads[thread];
  const Message& message = l.messages[index];
  t.known.floor[location] = static_cast<std::uint8_t>(index);
  if (acquires(order) && message.released) t.known.join(message.knowledge);
  if (order == std::memory_order_seq_cst) l.sc_floor = std::max(l.sc_floor, index);
  l.last_access[thread] = t.now;
  note(thread, mix(location, message.id));
  return message.value;
}

bool Memory::write(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order) {
  const bool ordered = threads[thread].known.floor[location] == locations[location].newest;
  append(thread, location, value, order, nullptr);
  note(thread, location);
  return ordered;
}

void Memory::replace(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order) {
  read(thread, location, newest(location), order);
  const Message replaced = locations[location].messages[newest(location)];
  append(thread, location, value, order, &replaced);
}

void Memory::append(unsigned thread, unsigned location, std::uint64_t value, std::memory_order order,
                    const Message* replaced) {
  Location& l = locations[location];
  Thread& t = threads[thread];
  l.newest = static_cast<unsigned>(l.messages.size());
  t.known.floor[location] = static_cast<std::uint8_t>(l.newest);
  l.last_access[thread] = t.now;
  Message message;
  message.value = value;
  message.id = mix(mix(t.history, thread), location);
  if (releases(order)) {
    message.released = true;
    message.knowledge = t.known;
    message.knowledge.clock[thread] = t.now;
  }
  if (replaced != nullptr && replaced->released) {
    message.released = true;
    message.knowledge.join(replaced->knowledge);
  }
  l.messages.push_back(message);
  l.hash = mix(l.hash, message.id);
  if (order == std::memory_order_seq_cst) l.sc_floor = l.newest;
}

void Memory::tick(unsigned thread) {
  Thread& t = threads[thread];
  t.known.clock[thread] = t.now;
  ++t.now;
}

}  // namespace offloop::model
