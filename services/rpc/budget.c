/* The bound of bytes in flight: see budget.h. One atomic counter; it never exceeds `most`. Reference-counted, because a
 * handler may hold a message longer than the server lives. */
#include "services/rpc/budget.h"

#include <stdatomic.h>

#include "services/base/invariant.h"

struct RpcBudget {
  atomic_int refs;
  guint64 most;
  _Atomic guint64 used;
};

RpcBudget *rpc_budget_new(guint64 most_bytes) {
  RpcBudget *budget = g_new0(RpcBudget, 1);
  atomic_init(&budget->refs, 1);
  budget->most = most_bytes;
  return budget;
}

RpcBudget *rpc_budget_ref(RpcBudget *budget) {
  atomic_fetch_add_explicit(&budget->refs, 1, memory_order_relaxed);
  return budget;
}

void rpc_budget_unref(RpcBudget *budget) {
  if (budget && atomic_fetch_sub_explicit(&budget->refs, 1, memory_order_acq_rel) == 1)
    g_free(budget);
}

gboolean rpc_budget_take(RpcBudget *budget, gsize bytes) {
  guint64 used = atomic_load_explicit(&budget->used, memory_order_relaxed);
  do {
    if (bytes > budget->most - used)
      return FALSE;
  } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed,
                                                  memory_order_relaxed));
  return TRUE;
}

void rpc_budget_give_back(RpcBudget *budget, gsize bytes) {
  guint64 before = atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
  INVARIANT(before >= bytes, "a message gives back no more than it took");
}

guint64 rpc_budget_used(RpcBudget *budget) {
  return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

guint64 rpc_budget_most(const RpcBudget *budget) {
  return budget->most;
}
