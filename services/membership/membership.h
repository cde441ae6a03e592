/* A process's place in the cluster: it registers with the controllers, keeps its session alive with heartbeats, and
 * follows the committed metadata into an image. Brokers and coordinators share it.
 *
 *   started ──register──► registered ──heartbeat: fenced──► catching up ──heartbeat: unfenced──► member
 *      ▲                      │ FENCED (the session ended meanwhile)                               │
 *      └──────────────────────┴────────────────────────────────────────────────────────────────────┘
 *   leave: heartbeats say so until a controller lets it go, or the time is over
 *
 * The metadata stream is followed from the start, beside the registration; it goes on at its version after a break,
 * from whatever controller answers. Registrations and heartbeats go to the active controller alone: it is found through
 * what the followed one says, the hints of those that are not it, and by asking the others in turn. Everything happens
 * on the loop given at the start. */
#pragma once

#include <stdatomic.h>

#include "controller/metadata/image.h"
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/loop.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Membership Membership;

/* Who joins. Strings are copied. */
typedef struct {
  Milena__Internal__V1__NodeKind kind;
  int id;                   /* 0 for a coordinator: the controllers give it one, maybe another with each registration */
  const char *rack;         /* or "" */
  const char *address;      /* where clients reach it */
  const char *peer_address; /* where brokers reach it; "" for a coordinator */
  const char *incarnation;  /* UUID of its data folder; "" for a coordinator */
  const char *cluster_id;   /* of its data folder; "" for a new one */
  gboolean stopped_in_order;      /* the process before lost nothing of what it had written */
  const guint64 *damaged_log_ids; /* logs that were found damaged; copied; NULL: none */
  gsize damaged_log_count;
  const char *const *controllers; /* peer addresses to try, NULL-terminated */
  gboolean disk_low;              /* as membership_set_disk_low */
  /* Where any thread reads until when the controllers do not end the session, monotonic; 0 while it is fenced. Lives as
   * long as the membership; NULL: nowhere. */
  _Atomic gint64 *session_until_us;
} MembershipOptions;

/* What happens to it. All on the loop; none may be NULL. */
typedef struct {
  /* Registered, with this epoch: keep the cluster's id. Once, and again after each lost session. */
  void (*registered)(const char *cluster_id, guint64 epoch, gpointer data);
  /* The image has changed; borrowed, ref it to keep it. */
  void (*image)(MetadataImage *image, gpointer data);
  /* Fenced or unfenced, at each change. */
  void (*fenced)(gboolean fenced, gpointer data);
  /* Another controller is active, as far as this process knows. @peer_address: borrowed; @id: -1 while the metadata
   * does not name it */
  void (*controller)(const char *peer_address, gint32 id, gpointer data);
  /* The cluster will never take this process: the id is another's, or the folder belongs to another cluster. Stop. */
  void (*refused)(const Failure *failure, gpointer data);
} MembershipEvents;

Membership *membership_new(RpcClient *client, Loop *loop, const MembershipOptions *options,
                           const MembershipEvents *events, gpointer data);
/* Begin. */
void membership_start(Membership *membership);
/* Tell the controllers, soon and with each heartbeat, whether a broker's disk is nearly full. On the loop. */
void membership_set_disk_low(Membership *membership, gboolean low);
/* Tell the controllers that the process stops; @left is called once they let it go, or after @timeout_ms. */
void membership_leave(Membership *membership, guint timeout_ms, void (*left)(gpointer data), gpointer data);
/* On the loop. NULL is fine. */
void membership_free(Membership *membership);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Membership, membership_free)

/* The session goes on, for all that this process can know: not fenced, and a heartbeat was answered that is not older
 * than a session. Who stood still for longer (a frozen process) learns so before anything else; and when a heartbeat
 * takes it in again, it does not go on before it has the metadata that tells what became of its partitions meanwhile.
 * On the loop. */
gboolean membership_is_current(const Membership *membership);

/* The id that it has, or asks for. On the loop. */
gint32 membership_id(Membership *membership);
/* The latest image; borrowed; NULL before the first. On the loop. */
MetadataImage *membership_image(Membership *membership);

G_END_DECLS
