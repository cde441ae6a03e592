/* Which brokers and coordinators have been heard lately. Kept outside the log: only what follows from it (fencing,
 * unfencing) is metadata. Time comes as an argument, monotonic, in µs. One thread. */
#pragma once

#include <glib.h>

#include "milena/internal/v1/controller_service.pb-c.h"

G_BEGIN_DECLS

typedef struct Liveness Liveness;
typedef Milena__Internal__V1__NodeKind NodeKind;
#define NODE_KIND(name) MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_##name

Liveness *liveness_new(gint64 session_timeout_ms);
void liveness_free(Liveness *liveness); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Liveness, liveness_free)

/* This controller has become the active one: it has heard nobody, so everybody has a full session. */
void liveness_begin(Liveness *liveness, gint64 now_us);
/* To be called several times a session: when this process itself stood still, nobody's session ends for that. */
void liveness_tick(Liveness *liveness, gint64 now_us);
/* A sign of life of this registration. */
void liveness_heard(Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gint64 now_us);
/* This registration said goodbye: its session is over. */
void liveness_left(Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch);
/* This registration's session goes on. One that was never heard lives for a session from liveness_begin, unless it was
 * fenced already. */
gboolean liveness_is_alive(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gboolean fenced,
                           gint64 now_us);
/* The process of this registration may live, so its id is not given to another: as above, but one that was fenced and
 * not heard yet may just have been on its way to its first heartbeat here: it has the time for two of them. */
gboolean liveness_may_live(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gboolean fenced,
                           gint64 now_us);
/* It said goodbye: its heartbeats bring it back no more. */
gboolean liveness_has_left(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch);

G_END_DECLS
