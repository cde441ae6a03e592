/* What the nemesis's files share: its state, and the table of faults. */
#pragma once

#include "tests/chaos/caller.h"
#include "tests/chaos/nemesis.h"

G_BEGIN_DECLS

#define NEMESIS_PROGRESS_S                                                                                             \
  60 /* from a mend until writes succeed, and the surgeon is done: a loaded machine is slow                            \
      */
#define NEMESIS_PROGRESS_WRITES 5
#define NEMESIS_STEP_MS 20

struct Nemesis {
  NemesisOptions options;
  Caller caller;
  GRand *random;
  guint count;   /* of controllers, the one that stands by among them; brokers are the nodes behind them */
  guint members; /* at one time */
  guint in_force;
  gint64 start_us;
  guint counts[FAULT_COUNT];
  guint64 bytes_lost;
  GArray *kills_us;
  gboolean is_shrunk; /* partitions have fewer replicas, or may have */
  guint damaged;      /* node of a broker whose disk is; 0: none, for that is a controller */
  GArray *hits;       /* of NemesisHit */
  gint64 longest_mend_us;
  char *failure;
};

/* What a kind of fault can't be without. */
enum {
  NEEDS_CUTS = 1,    /* namespaces, to cut off hosts */
  NEEDS_LOSS = 2,    /* the library that notes what is not synced */
  NEEDS_OTHERS = 4,  /* more than one controller */
  NEEDS_BROKERS = 8, /* brokers on hosts of their own, and traffic */
  NEEDS_SYNCED = 16, /* records that are synced before they are acknowledged */
};

/* Whom a fault hits: a node. */
typedef enum {
  HITS_MEMBER, /* any controller that is a member */
  HITS_ACTIVE, /* the one that acknowledged last */
  HITS_BROKER, /* any */
  HITS_LEADER, /* the one that leads most */
} Target;

typedef struct {
  const char *name;
  guint weight; /* how often it is chosen: what takes long to mend seldom */
  guint needs;
  Target target;
  /* Put it in force. FALSE when it can't be now. */
  gboolean (*begin)(Nemesis *nemesis, guint who);
} Fault;

/* By FaultKind; those of brokers, by FaultKind - FAULT_BROKER_FIRST. */
extern const Fault NEMESIS_FAULTS[FAULT_BROKER_FIRST];
extern const Fault NEMESIS_BROKER_FAULTS[FAULT_COUNT - FAULT_BROKER_FIRST];
const Fault *nemesis_fault(FaultKind kind);

void nemesis_say(Nemesis *nemesis, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Whoever ended by itself is seen here; FALSE when that was wrong. */
gboolean nemesis_look(Nemesis *nemesis);
/* A random time; @stop: or NULL */
void nemesis_pause_ms(Nemesis *nemesis, gint32 least_ms, gint32 most_ms, const volatile gint *stop);
guint nemesis_active_member(const Nemesis *nemesis);
/* The node that leads most partitions, or any broker when nobody tells. */
guint nemesis_leader(Nemesis *nemesis);
guint nemesis_any_broker(Nemesis *nemesis);
void nemesis_kill(Nemesis *nemesis, guint node, gboolean loses);

G_END_DECLS
