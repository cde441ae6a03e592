/* Whether the process still does its work, for who may restart it: the service "alive" of its health. It is SERVING
 * while every loop takes up what it is given within ALIVE_HANGS_MS. It says nothing about being ready: a broker that is
 * fenced, or a controller that is not the active one, is alive. */
#pragma once

#include "services/base/loop.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

#define ALIVE_SERVICE "alive"

#define ALIVE_HANGS_MS 30000

typedef struct Alive Alive;

/* @servers, @loops: borrowed for its life; the arrays are copied. The loops run, and outlive it
 * @hangs_ms: ALIVE_HANGS_MS, but in tests */
Alive *alive_new(RpcServer *const *servers, guint server_count, Loop *const *loops, guint loop_count, guint hangs_ms);
void alive_free(Alive *alive); /* while the loops run; NULL is fine */

G_END_DECLS
