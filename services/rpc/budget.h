/* A bound for bytes that are held by messages of a process: refused, not waited for, when it is spent. Any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct RpcBudget RpcBudget;

RpcBudget *rpc_budget_new(guint64 most_bytes);
RpcBudget *rpc_budget_ref(RpcBudget *budget);
void rpc_budget_unref(RpcBudget *budget); /* NULL is fine */
gboolean rpc_budget_take(RpcBudget *budget, gsize bytes);
void rpc_budget_give_back(RpcBudget *budget, gsize bytes);
guint64 rpc_budget_used(RpcBudget *budget);
guint64 rpc_budget_most(const RpcBudget *budget);

G_END_DECLS
