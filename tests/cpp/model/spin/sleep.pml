/* The logic of the pool's sleep and wake (src/runtime/sleep_wake.h): WORKERS workers, two submitters, quick works and one long one
 * that runs until all quick ones have run, so that whoever has it must have handed over. Larger than what sleep_model_test.cpp
 * runs, and sequentially consistent: the logic alone.
 *
 * Whether too much waits for those who look is decided at random, and so is who of the idle list is woken: more than the pool does.
 *
 * Checked: when nothing can go on any more (timeout), everything has run, and the counts agree with who sleeps. Each mutant is a
 * define and must be caught: NO_SECOND_LOOK, LOOK_BEFORE_COUNTED, WAKE_BEFORE_PUSH, NO_HAND_OVER_LONG, HAND_OVER_BEFORE_COUNTED,
 * NO_HAND_OVER_REFILL, NO_HAND_OVER_LEAVE (with SHRINK), CLOSE_WITHOUT_WAKE, WAKE_BEFORE_CLOSE (with CLOSE), WAKE_UNCOUNTED.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#define QUICK 2

byte inbox_quick = 0, inbox_long = 0;
byte ring_quick = 0, ring_long = 0;      /* the queues, under `mutex` */
byte runnable = 0;                       /* groups in the ring */
byte prompt = WORKERS, sleeping = 0;
byte target = WORKERS;
bool closed = false;
bool idle[WORKERS];
bool awake[WORKERS];
bool mutex = false, idle_mutex = false;
byte quick_done = 0, long_done = 0, gone_away = 0;

#define HAS_INBOX (inbox_quick + inbox_long > 0)

inline lock(m)   { atomic { !m; m = true } }
inline unlock(m) { m = false }

inline pop(i) {
  idle[i] = false;
#ifndef WAKE_UNCOUNTED
  prompt++;
#endif
  sleeping--;
  awake[i] = true
}

inline wake_one() {
  lock(idle_mutex);
  if
#if WORKERS > 2
  :: idle[2] -> pop(2)
#endif
  :: idle[1] -> pop(1)
  :: idle[0] -> pop(0)
  :: else
  fi;
  unlock(idle_mutex)
}

inline wake_if_behind() {
  if
  :: prompt == 0 -> if :: sleeping > 0 -> wake_one() :: else fi
  :: prompt > 0                                              /* they will look */
  :: prompt > 0 -> if :: sleeping > 0 -> wake_one() :: else fi  /* too much waits for them */
  fi
}

inline wake_all() {
  lock(idle_mutex);
  if :: idle[0] -> pop(0) :: else fi;
  if :: idle[1] -> pop(1) :: else fi;
#if WORKERS > 2
  if :: idle[2] -> pop(2) :: else fi;
#endif
  unlock(idle_mutex)
}

/* two reads, one after the other */
inline hand_over() {
  if
  :: HAS_INBOX -> wake_if_behind()
  :: else ->
    if
    :: runnable > 0 -> wake_if_behind()
    :: else
    fi
  fi
}

inline take_inbox() {
  d_step { got_quick = inbox_quick; got_long = inbox_long; inbox_quick = 0; inbox_long = 0 }
  if
  :: got_quick > 0 ->
    if :: ring_quick == 0 -> ring_quick = got_quick; runnable++ :: else -> ring_quick = ring_quick + got_quick fi
  :: else
  fi;
  if
  :: got_long > 0 -> ring_long = got_long; runnable++
  :: else
  fi;
  got_quick = 0; got_long = 0
}

inline lie_down() {
  lock(idle_mutex);
  awake[me] = false;
  idle[me] = true;
  prompt--;
  sleeping++;
  unlock(idle_mutex)
}

inline rise() {
  lock(idle_mutex);
  if
  :: idle[me] -> idle[me] = false; prompt++; sleeping--; awake[me] = true
  :: else                                                     /* somebody has woken it between */
  fi;
  unlock(idle_mutex)
}

proctype submitter(bool with_long) {
  if
  :: with_long ->
    inbox_long++;
    wake_if_behind()
  :: else
  fi;
#ifdef WAKE_BEFORE_PUSH
  wake_if_behind();
  inbox_quick++
#else
  inbox_quick++;
  wake_if_behind()
#endif
}

proctype worker(byte me) {
  byte got_quick = 0, got_long = 0;
  byte job;                                                   /* 0 none, 1 quick, 2 long */
again:
  if
  :: closed || me >= target -> goto gone
  :: else
  fi;
  job = 0;
  lock(mutex);
  take_inbox();
  if
  :: ring_quick > 0 -> job = 1; ring_quick--; if :: ring_quick == 0 -> runnable-- :: else fi
  :: ring_long > 0 -> job = 2; ring_long--; runnable--
  :: ring_quick == 0 && ring_long == 0
  fi;
  unlock(mutex);
  if
  :: job == 0 ->
#ifdef LOOK_BEFORE_COUNTED
    if
    :: HAS_INBOX -> goto again
    :: else -> if :: runnable > 0 || closed || me >= target -> goto again :: else fi
    fi;
    lie_down();
#else
    lie_down();
#ifndef NO_SECOND_LOOK
    if
    :: HAS_INBOX -> rise(); goto again
    :: else ->
      if
      :: runnable > 0 -> rise(); goto again
      :: else ->
        if
        :: closed -> rise(); goto again
        :: else -> if :: me >= target -> rise(); goto again :: else fi
        fi
      fi
    fi;
#endif
#endif
end_asleep:                                                   /* it may sleep for ever */
    awake[me]
  :: job == 1 ->
    wake_if_behind();
    quick_done++
  :: job == 2 ->
    wake_if_behind();
#ifdef HAND_OVER_BEFORE_COUNTED
    hand_over();
#endif
    prompt--;
#if !defined(HAND_OVER_BEFORE_COUNTED) && !defined(NO_HAND_OVER_LONG)
    hand_over();
#endif
    if
    :: HAS_INBOX || runnable > 0 ->                           /* a refill, or not */
      lock(mutex);
      take_inbox();
      unlock(mutex);
#ifndef NO_HAND_OVER_REFILL
      hand_over()
#endif
    :: true
    fi;
    quick_done == QUICK;                                      /* long */
    long_done++;
    prompt++
  fi;
  goto again;
gone:
  prompt--;
#ifndef NO_HAND_OVER_LEAVE
  hand_over();
#endif
  gone_away++
}

#ifdef SHRINK
proctype configure() {
  target = 1;
  wake_all()
}
#endif

#ifdef CLOSE
proctype shutdown() {
#ifdef WAKE_BEFORE_CLOSE
  wake_all();
  closed = true
#else
  closed = true;
#ifndef CLOSE_WITHOUT_WAKE
  wake_all()
#endif
#endif
}
#endif

init {
  byte i = 0;
  atomic {
    do
    :: i < WORKERS -> awake[i] = true; run worker(i); i++
    :: else -> break
    od;
#ifdef CLOSE
    run shutdown();
#else
#ifdef SHRINK
    run configure();
    quick_done = QUICK - 1;
    run submitter(false);
#else
    run submitter(true);
    run submitter(false);
#endif
#endif
  }
  timeout;
#ifdef CLOSE
  assert(gone_away == WORKERS && prompt == 0 && sleeping == 0)
#else
  assert(quick_done == QUICK);
#ifdef SHRINK
  assert(gone_away == WORKERS - 1 && prompt == 0 && sleeping == 1)
#else
  assert(long_done == 1 && prompt == 0 && sleeping == WORKERS)
#endif
#endif
}
