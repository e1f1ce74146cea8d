/* The logic of the port (include/offloop/runtime/port_protocol.h): two producers, a loop that polls, drains, may close, may fork.
 * Steps are sequentially consistent here; what weaker memory does to them is port_model_test.cpp's subject. Unlike there, parent
 * and child both go on after the fork, so that what the child does to the shared eventfd shows in the parent.
 *
 * Checked: no deadlock (a loop that polls for ever with items left, a close that waits for ever), the assertions below, and that
 * everything was delivered once. Each mutant is a define and must be caught: SIGNAL_BEFORE_PUSH, READ_AFTER_EXCHANGE,
 * CLOSE_WITHOUT_WAITING, LEAVE_BEFORE_SIGNAL, DRAIN_WITHOUT_GENERATION, CLOSE_WITHOUT_GENERATION.
 */
#define PUSHES 2
#define ITEMS  (2 * PUSHES)

byte list = 0;            /* items behind head_ */
byte counter = 0;         /* the eventfd's, shared by parent and child */
bool open = true;         /* the parent's descriptor */
byte inside = 0;          /* producers_ */
bool closed = false;      /* closed_ */
bool pending_call = false;
byte delivered = 0;
bool forked = false;

inline signal() {
  assert(open);           /* else the number is somebody else's by now */
  counter = 1             /* its value does not matter, only whether it is readable */
}

inline announce() {
  if
  :: closed -> pending_call = true
  :: else -> signal()
  fi
}

proctype producer() {
  byte pushed = 0;
  bool was_empty;
  do
  :: pushed < PUSHES ->
    inside++;
#ifdef SIGNAL_BEFORE_PUSH
    if
    :: list == 0 -> announce()
    :: else
    fi;
    list++;
    inside--;
#else
    d_step { was_empty = (list == 0); list++ }
#ifdef LEAVE_BEFORE_SIGNAL
    inside--;
#endif
    if
    :: was_empty -> announce()
    :: else
    fi;
#ifndef LEAVE_BEFORE_SIGNAL
    inside--;
#endif
#endif
    pushed++
  :: else -> break
  od
}

inline clear() {
  if
  :: !closed -> assert(open); counter = 0
  :: else
  fi
}

inline take() {
  d_step { delivered = delivered + list; list = 0 }
}

inline drain() {
#ifdef READ_AFTER_EXCHANGE
  take();
  clear()
#else
  clear();
  take()
#endif
}

inline close_port() {
  closed = true;
#ifndef CLOSE_WITHOUT_WAITING
  inside == 0;
#endif
  open = false
}

/* A child: memory as it is now, and none of the producers. It lets go of the port. */
proctype child(byte c_list, c_inside; bool c_closed) {
#ifdef DRAIN_WITHOUT_GENERATION
  if
  :: !c_closed -> counter = 0
  :: else
  fi;
#endif
  c_list = 0;
  if
  :: !c_closed ->
    c_closed = true;
#ifdef CLOSE_WITHOUT_GENERATION
    c_inside == 0
#else
    skip
#endif
  :: else
  fi
}

proctype loop() {
  byte stale_readers = 1;
  do
  :: delivered == ITEMS -> break
  :: else ->
    if                                                        /* what may happen at any moment */
    :: true
    :: stale_readers > 0 -> stale_readers--; if :: !closed -> drain() :: else fi
    :: !closed -> close_port(); drain()
    :: !closed && !forked -> forked = true; run child(list, inside, closed)
    fi;
    if                                                        /* the wait for a wake */
    :: delivered == ITEMS
    :: !closed && counter > 0 -> drain()
    :: closed && pending_call -> pending_call = false; drain()
    fi
  od
}

init {
  atomic { run producer(); run producer(); run loop() }
  (_nr_pr == 1);
  assert(delivered == ITEMS && list == 0 && inside == 0)
}
