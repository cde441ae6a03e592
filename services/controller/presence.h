/* Whether the processes of brokers and coordinators are still there: a killed one is noticed at once, not when its
 * session ends.
 *
 * Every controller, the active one or not, keeps a health watch open at each broker's peer address,
 * and at each coordinator's one address. When a process
 * dies, its machine closes its connections, so the watch ends; and its address refuses new ones, since nobody listens.
 * Both together mean that the process is gone. A frozen process, a lost machine or a cut network look different (the
 * watch stays, or the address does not answer): then the session decides, as ever. What only refuses, and was never
 * watched, counts for nothing: its address may be wrong. One that comes back at its address is known to be right there,
 * so it is judged from its registration on.
 *
 *   trying ──first message──► watched ──the watch ends──► probed ──refused──► gone ──heard, watched again──► ...
 *      ▲                                                     │
 *      └──────────────── anything else: soon again ◄─────────┘
 *
 * A wrong "gone" is safe, since the process is fenced, and its next heartbeat brings it back; but it costs elections,
 * or moves of leases. All on the loop given at the start. */
#pragma once

#include "controller/metadata/image.h"
#include "services/base/loop.h"
#include "services/controller/liveness.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Presence Presence;

/* The process of this registration is gone. */
typedef void (*PresenceGone)(NodeKind kind, gint32 id, guint64 epoch, gpointer data);

/* @client, @loop: outlive it */
Presence *presence_new(RpcClient *client, Loop *loop, PresenceGone gone, gpointer data);
/* Watches nobody any more. On the loop. */
void presence_stop(Presence *presence);
void presence_free(Presence *presence); /* after presence_stop, or never used; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Presence, presence_free)

/* Watch the brokers and coordinators of this image, each in its present registration. */
void presence_follow(Presence *presence, const MetadataImage *image);
/* A heartbeat came: whatever was seen, the process lives. */
void presence_heard(Presence *presence, NodeKind kind, gint32 id, guint64 epoch);
gboolean presence_is_gone(const Presence *presence, NodeKind kind, gint32 id, guint64 epoch);
/* It was watched, or the registration before was, at the same address: so it is judged when its watch ends. */
gboolean presence_is_watched(const Presence *presence, NodeKind kind, gint32 id, guint64 epoch);

G_END_DECLS
