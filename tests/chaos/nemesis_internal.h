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
  guint count;   /* of controllers, the one that stands by among them */
  guint members; /* at one time */
  guint in_force;
  gint64 start_us;
  guint counts[FAULT_COUNT];
  guint64 bytes_lost;
  GArray *kills_us;
  gint64 longest_mend_us;
  char *failure;
};

/* What a kind of fault can't be without. */
enum {
  NEEDS_CUTS = 1,   /* namespaces, to cut off hosts */
  NEEDS_LOSS = 2,   /* the library that notes what is not synced */
  NEEDS_OTHERS = 4, /* more than one controller */
};

typedef struct {
  const char *name;
  guint weight; /* how often it is chosen: what takes long to mend seldom */
  guint needs;
  gboolean hits_active; /* else any member */
  /* Put it in force. FALSE when it can't be now. */
  gboolean (*begin)(Nemesis *nemesis, guint who);
} Fault;

/* By FaultKind. */
extern const Fault NEMESIS_FAULTS[FAULT_COUNT];

void nemesis_say(Nemesis *nemesis, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Whoever ended by itself is seen here; FALSE when that was wrong. */
gboolean nemesis_look(Nemesis *nemesis);
/* A random time; @stop: or NULL */
void nemesis_pause_ms(Nemesis *nemesis, gint32 least_ms, gint32 most_ms, const volatile gint *stop);
guint nemesis_active_member(const Nemesis *nemesis);

G_END_DECLS
