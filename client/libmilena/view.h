/* The cluster as the client knows it at one moment: which topics there are, who leads each partition, where brokers
 * are.
 *
 * A view never changes: an image or a change makes a new one, which shares what stayed the same. So threads read a view
 * that they hold a reference to without any lock. Pure. */
#pragma once

#include <glib.h>
#include <stdatomic.h>

#include "milena/v1/metadata_service.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct View View;

typedef struct {
  gint32 leader_id; /* -1: none now */
  gint32 leader_epoch;
} ViewPartition;

typedef struct {
  atomic_uint refs; /* private */
  char *name, *id;
  guint32 max_message_bytes; /* 0: not said */
  guint32 partition_count;
  ViewPartition partitions[];
} ViewTopic;

/* Nothing known yet. */
View *view_new_empty(void);
/* The whole cluster. @cluster: borrowed; came from the wire: partitions out of order or doubled give a Failure. */
Failure *view_new_from_image(const Milena__V1__ClusterMetadata *cluster, View **ret_view);
/* @view with @change applied. Both borrowed. */
Failure *view_new_from_change(const View *view, const Milena__V1__MetadataChange *change, View **ret_view);
/* All brokers are reached through this address instead of their own: they forward. Copied. Before others see the view.
 */
void view_set_gateway(View *view, const char *address);
View *view_ref(View *view);  /* any thread */
void view_unref(View *view); /* any thread; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(View, view_unref)

/* An image has arrived: what is not in the view did not exist then. */
gboolean view_is_known(const View *view);
guint64 view_version(const View *view);
/* Borrowed from the view, NULL when it does not exist. */
const ViewTopic *view_topic(const View *view, const char *name);
/* Who leads a partition.
 *
 * @ret_leader_id: id of the broker
 * @ret_address: where it is; borrowed from the view
 *
 * Returns NULL, UNKNOWN_TOPIC, UNKNOWN_PARTITION, or LEADER_NOT_AVAILABLE when it has none, or the view knows no
 * address for it. */
Failure *view_leader(const View *view, const char *topic, gint32 partition, gint32 *ret_leader_id,
                     const char **ret_address);
/* Is the broker up, at this address, as far as the view knows? TRUE while it knows nothing. */
gboolean view_broker_serves(const View *view, gint32 broker_id, const char *address);
/* Append the brokers' own addresses, those that are not fenced first: borrowed from the view. */
void view_add_addresses(const View *view, GPtrArray *addresses);

G_END_DECLS
