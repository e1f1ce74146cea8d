// Who may run: the total limit, the limit per host, one first-in-first-out queue per host, hosts served in turn. All of
// it outside libcurl, whose own limits have been slow in several releases.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fetch/transfer.h"

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

  /// Transfers that may run now, to be handed to the mailbox of their I/O thread. By id: a cancel may overtake them.
  struct Admitted {
    TransferId id;
    unsigned io;
  };
  using Ready = std::vector<Admitted>;

  /// Takes the transfer and gives its id; 0 when closed, then `transfer` is left as it was.
  TransferId submit(std::unique_ptr<Transfer>& transfer, Ready& ready);

  /// submit() of each in order under one lock; ids of 0 as there.
  std::vector<TransferId> submit_all(std::vector<std::unique_ptr<Transfer>>& transfers, Ready& ready);

  /// Marks it cancelled and takes it out of its queue. The I/O thread to tell, or -1 when there is nothing to do.
  int cancel(TransferId id);

  /// The I/O thread of a running transfer, or -1.
  int io_of(TransferId id) const;

  /// nullptr when it has ended. [I/O thread of the transfer]
  Transfer* find(TransferId id) const;

  /// Moves a running transfer to another host, for a redirect. True: it goes on at once. False: it waits at the front
  /// of that host's queue without holding any place, and comes again as a kStart. [I/O thread of the transfer]
  bool move_to_host(Transfer* transfer, const std::string& host, Ready& ready);

  /// Takes back an ended transfer and its place. [I/O thread of the transfer]
  std::unique_ptr<Transfer> release(Transfer* transfer, Ready& ready);

  /// Refuses what comes from now on; what is queued stays until its I/O thread takes it by belonging_to().
  void close();

  /// After close(): everything of that I/O thread, queued or running.
  std::vector<Transfer*> belonging_to(unsigned io) const;

  std::uint64_t queued() const;
  std::uint64_t running() const;
  bool empty() const;

 private:
  struct Slot {
    std::uint32_t generation = 1;
    std::unique_ptr<Transfer> transfer;
  };

  TransferId submit_locked(std::unique_ptr<Transfer>& transfer);
  Transfer* find_locked(TransferId id) const;
  HostQueue* host_locked(const std::string& name);
  void forget_host_locked(HostQueue* host);
  bool may_run(const HostQueue& host) const { return per_host_ == 0 || host.running < per_host_; }
  void push_turn_locked(HostQueue* host);
  void unlink_locked(Transfer* transfer);
  unsigned choose_io_locked(const HostQueue& host) const;
  void pump_locked(Ready& ready);

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
