// Who may run: the total limit, the limit per host, one first-in-first-out queue per host, hosts served in turn. All of
// it outside libcurl, whose own limits have been slow in several releases.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fetch/mailbox.h"
#include "fetch/transfer.h"
#include "offloop/base/result.h"

namespace offloop::fetch {

struct HostQueue {
  std::string name;
  unsigned running = 0;
  Transfer* head = nullptr;
  Transfer* tail = nullptr;
  bool in_turn = false;  ///< linked into the list of hosts that could run something
  HostQueue* next_turn = nullptr;
};

/// Owns every transfer that is accepted and not done. One mutex, held for a few pointer moves. All functions [any
/// thread] unless tagged.
class Admission {
 public:
  Admission(unsigned max_concurrent, unsigned per_host, unsigned io_threads);

  /// Takes the transfer and gives its id, or kPoolClosed or kOutOfMemory. Here and below `ready` gets what may run now,
  /// to be handed to the mailbox of its I/O thread; whoever finds it full then asks pump() for more.
  Result<TransferId> submit(std::unique_ptr<Transfer> transfer, Burst& ready) noexcept;

  /// submit() of each in order under one lock; null ones keep the result that is there.
  void submit_all(std::vector<std::unique_ptr<Transfer>> transfers, std::vector<Result<TransferId>>& results,
                  Burst& ready) noexcept;

  /// Empties `ready` and fills it with what may run now.
  void pump(Burst& ready) noexcept;

  /// Marks it cancelled and takes it out of its queue. The I/O thread to tell, or -1 when there is nothing to do.
  int cancel(TransferId id) noexcept;

  /// The I/O thread of a running transfer, or -1.
  int io_of(TransferId id) const;

  /// nullptr when it has ended. [I/O thread of the transfer]
  Transfer* find(TransferId id) const;

  /// Moves a running transfer to another host, for a redirect. True: it goes on at once. False: it waits at the front
  /// of that host's queue without holding any place, and comes again as a kStart. [I/O thread of the transfer]
  bool move_to_host(Transfer* transfer, const std::string& host, Burst& ready);

  /// Takes back an ended transfer and its place. [I/O thread of the transfer]
  std::unique_ptr<Transfer> release(Transfer* transfer, Burst& ready) noexcept;

  /// Refuses what comes from now on; what is queued stays until its I/O thread finds it by next_of().
  void close();

  /// After close(): the first transfer of that I/O thread, queued or running, from that place on; null after the last.
  Transfer* next_of(unsigned io, std::size_t& place) const;

  std::uint64_t queued() const;
  std::uint64_t running() const;
  bool empty() const;

 private:
  struct Slot {
    std::uint32_t generation = 1;
    std::unique_ptr<Transfer> transfer;
  };

  Result<TransferId> submit_locked(std::unique_ptr<Transfer> transfer) noexcept;
  TransferId enqueue_locked(std::unique_ptr<Transfer> transfer);
  Transfer* find_locked(TransferId id) const;
  HostQueue* host_locked(const std::string& name);
  void forget_host_locked(HostQueue* host);
  bool may_run(const HostQueue& host) const { return per_host_ == 0 || host.running < per_host_; }
  void push_turn_locked(HostQueue* host);
  void unlink_locked(Transfer* transfer);
  unsigned choose_io_locked(const HostQueue& host) const;
  void pump_locked(Burst& ready) noexcept;

  const unsigned max_concurrent_;
  const unsigned per_host_;

  mutable std::mutex mutex_;  // guards all below, and the part of Transfer that says so
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::unordered_map<std::string, std::unique_ptr<HostQueue>> hosts_;
  HostQueue* first_turn_ = nullptr;
  HostQueue* last_turn_ = nullptr;
  std::vector<unsigned> load_;  // running transfers by I/O thread
  std::uint64_t queued_ = 0;
  std::uint64_t running_ = 0;
  bool closed_ = false;
};

}  // namespace offloop::fetch
