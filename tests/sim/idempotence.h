/* Idempotent producers, simulated: the real replica and producer table on a simulated disk, clients with libmilena's
 * retry rule, and a network and crashes that do their worst. idempotence.c states the rules that are checked. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Mistakes that the broker's model can make on purpose, to show that the rules find them. */
typedef enum {
  IDEMPOTENCE_BUG_NONE,
  IDEMPOTENCE_BUG_NO_TABLE,        /* every batch is taken for new */
  IDEMPOTENCE_BUG_EARLY_DUPLICATE, /* a retry is answered before its first try is safe */
  IDEMPOTENCE_BUG_FORGETS,         /* producers are not recovered after a crash */
  IDEMPOTENCE_BUG_SPLIT_WRITE,     /* a producer's record is not written with its batch, but with the next one */
} IdempotenceBug;

typedef struct {
  char *violation; /* NULL when all rules held; owned by the caller */
  guint records, duplicates, refusals, crashes, give_ups;
} IdempotenceResult;

void idempotence_simulate(guint64 seed, IdempotenceBug bug, IdempotenceResult *ret_result);

G_END_DECLS
