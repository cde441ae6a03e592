/* What heartbeats, and the want of them, mean for the metadata: who is fenced, comes back, hands over, may take an id.
 *
 * Pure: decisions alone, by the tip of the metadata, what this controller has heard (liveness.h), and the time. Source:
 * ../shared/design/REPLICATION.md, rules 8 to 10. */
#pragma once

#include "controller/metadata/image.h"
#include "services/base/failure.h"
#include "services/controller/liveness.h"

G_BEGIN_DECLS

/* Epoch and state of a registration. Returns FALSE, both untouched, when there is none. */
gboolean sessions_find(const MetadataImage *tip, NodeKind kind, gint32 id, guint64 *ret_epoch, gboolean *ret_fenced);
/* The process that holds this id may live: another folder does not get it.
 *
 * @gone: its process was seen to be gone */
gboolean sessions_may_live(const Liveness *liveness, const MetadataImage *tip, NodeKind kind, gint32 id, gboolean gone,
                           gint64 now_us);

/* What a heartbeat came to. */
typedef struct {
  guint64 epoch;
  gboolean fenced;       /* as it will be with the records */
  gboolean hands_over;   /* it stops, and its leaderships go first */
  gboolean disk_changed; /* its disk is nearly full now, or has room again */
} SessionsHeartbeat;
/* A sign of life. @records: gets what changes.
 *
 * Returns NULL, or FENCED for another registration: nothing changes then. */
Failure *sessions_heartbeat(Liveness *liveness, const MetadataImage *tip,
                            const Milena__Internal__V1__HeartbeatRequest *request, gint64 now_us, GPtrArray *records,
                            SessionsHeartbeat *ret_heartbeat);
/* Fence a node whose session is over, or whose process is @gone. @records: gets what that changes. Returns TRUE
 * when it changes anything. */
gboolean sessions_fence(const Liveness *liveness, const MetadataImage *tip, NodeKind kind, gint32 id, gboolean gone,
                        gint64 now_us, GPtrArray *records);

G_END_DECLS
