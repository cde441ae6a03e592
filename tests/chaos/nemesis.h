/* What goes wrong, by seed: rounds of faults that overlap, one to some, then everything is mended, and writes must
 * succeed again within a bound: of metadata, and where brokers are hit too, of records in every partition.
 *
 * Nothing happens beyond what is promised. Controllers: data is lost at one at a time. Brokers: a disk is lost only
 * while all replicas are in sync, so at one at a time; what was not synced is lost anywhere and everywhere, unless the
 * records are not synced before their answers. */
#pragma once

#include "tests/chaos/fleet.h"
#include "tests/chaos/load.h"
#include "tests/chaos/surgeon.h"
#include "tests/chaos/traffic/traffic.h"

G_BEGIN_DECLS

typedef enum {
  FAULT_KILL,        /* -9, any member */
  FAULT_KILL_ACTIVE, /* -9, the one that acknowledged last */
  FAULT_POWER_CUT,   /* killed, and what it did not sync is lost */
  FAULT_POWER_CUT_ALL,
  FAULT_FREEZE, /* SIGSTOP */
  FAULT_FREEZE_ACTIVE,
  FAULT_HICCUP,     /* the active one is frozen just as long as it takes to choose another, and goes on where it was */
  FAULT_CUT_OFF,    /* from the other controllers, both ways; clients reach it */
  FAULT_CUT_ACTIVE, /* the active one, likewise */
  FAULT_UNPLUG,     /* from everything */
  FAULT_DEAF,       /* what others send does not arrive; what it sends does */
  FAULT_DUMB,       /* the other way */
  FAULT_BRIDGE,     /* two don't see each other, the third sees both */
  FAULT_NO_ANSWERS, /* what clients ask of the active one arrives, and its answers don't */
  FAULT_FAILING_SYNC, /* its disk refuses an fsync: it must end with status 74 */
  FAULT_TRANSFER,     /* no fault, a change of who is active */
  FAULT_LOST_DISK,
  FAULT_DAMAGED_DISK,
  FAULT_MOVE, /* another member instead of one */

  FAULT_BROKER_FIRST,
  FAULT_BROKER_KILL = FAULT_BROKER_FIRST,
  FAULT_LEADER_KILL, /* the broker that leads most */
  FAULT_BROKER_POWER_CUT,
  FAULT_EVERYTHING_POWER_CUT, /* all controllers and brokers, in one instant */
  FAULT_BROKER_FREEZE,
  FAULT_LEADER_FREEZE,
  FAULT_LEADER_HICCUP,  /* frozen for less or more than its session, then it goes on where it was */
  FAULT_BROKER_CUT_OFF, /* from brokers and controllers, both ways; clients reach it */
  FAULT_LEADER_CUT_OFF,
  FAULT_BROKER_UNPLUG,
  FAULT_BROKER_DEAF,
  FAULT_BROKER_DUMB,
  FAULT_BROKERS_APART,     /* two brokers don't see each other; the third and the controllers see both */
  FAULT_BROKER_UNMANAGED,  /* cut off from the controllers alone: it goes on replicating */
  FAULT_BROKER_NO_ANSWERS, /* what clients ask of the leader arrives, and its answers don't */
  FAULT_BROKER_FAILING_SYNC,
  FAULT_BROKER_RESTART, /* in order */
  FAULT_BROKER_LOST_DISK,
  FAULT_BROKER_DAMAGED_DISK, /* a flipped bit; when it is mended the disk is lost */
  FAULT_FEWER_REPLICAS,      /* no fault: partitions are reassigned to two brokers, and back when all is mended */
  FAULT_LEADERS_MOVE,        /* no fault: others lead */
  FAULT_COUNT,
} FaultKind;

typedef struct Nemesis Nemesis;

typedef struct {
  Fleet *fleet; /* all borrowed */
  Net *net;
  Load *load;
  Surgeon *surgeon;   /* NULL: no changes of members */
  Traffic *traffic;   /* NULL: brokers are left alone */
  gboolean is_synced; /* records are on disk before they are acknowledged: brokers may lose what they did not sync */
  guint64 seed;
  guint at_once;           /* faults of one round at most */
  gboolean can_lose;       /* unsynced writes, and fail syncs */
  const char *const *only; /* names of faults, NULL at the end: no others; or NULL for all. Borrowed */
  void (*say)(const char *line, gpointer data);
  gpointer data;
} NemesisOptions;

const char *nemesis_fault_name(FaultKind kind);
/* FALSE for a name that no fault has. */
gboolean nemesis_is_fault(const char *name);

Nemesis *nemesis_new(const NemesisOptions *options);
void nemesis_free(Nemesis *nemesis); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Nemesis, nemesis_free)

/* Random rounds until @until_us, or until *@stop, or until something is wrong. Ends with everything mended. */
void nemesis_run(Nemesis *nemesis, gint64 until_us, const volatile gint *stop);
/* Every kind once, one after the other. */
void nemesis_tour(Nemesis *nemesis, const volatile gint *stop);
/* Mend everything, and wait until writes succeed. FALSE when they don't within the bound: nemesis_failure says why. */
gboolean nemesis_mend(Nemesis *nemesis);

/* What went wrong that should not have: a process that ended, writes that did not succeed again; borrowed, or NULL. */
const char *nemesis_failure(const Nemesis *nemesis);
guint nemesis_count(const Nemesis *nemesis, FaultKind kind);
/* Kinds that can't be had here are counted as skipped: why, or NULL. */
const char *nemesis_skips(const Nemesis *nemesis, FaultKind kind);
guint64 nemesis_bytes_lost(const Nemesis *nemesis);
/* Monotonic times at which the active controller was killed with nothing else in force; of gint64. */
const GArray *nemesis_kills_us(const Nemesis *nemesis);

/* A broker that was hit while it led something. */
typedef struct {
  FaultKind kind;
  gint64 at_us;
  gint32 broker_id;
  guint32 partitions; /* bits of those that it led */
  gboolean is_alone;  /* all replicas were in sync and nothing else in force; nor while a kill was watched */
} NemesisHit;

/* Of NemesisHit, in order. */
const GArray *nemesis_hits(const Nemesis *nemesis);
/* The longest time from a mend until writes succeeded again. */
gint64 nemesis_longest_mend_us(const Nemesis *nemesis);

G_END_DECLS
