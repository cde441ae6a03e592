/* What the files of the traffic share. */
#pragma once

#include <milena/milena.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/client.h"
#include "tests/chaos/traffic/traffic.h"

G_BEGIN_DECLS

#define TRAFFIC_FINAL_READER 1000 /* reader of the whole reading at broker id: plus the id */

/* A producer or consumer: a thread, what it noted, and what it can ask with. */
typedef struct {
  Traffic *traffic;
  guint32 number; /* process or first reader */
  GRand *random;
  GThread *thread;
  GMutex mutex; /* of the ledger: delivery reports come on the library's thread */
  Ledger *ledger;
  gint32 timeout_ms; /* of a delivery */
  guint kind;        /* of a consumer */
  gboolean by_door;
} Actor;

struct Traffic {
  char **addresses;
  char *bootstrap;
  char *door; /* NULL: there is none */
  guint brokers;
  const char *flush;
  guint64 seed;
  MilenaClient *admin;
  GPtrArray *writers, *readers;               /* of Actor */
  gint stop_writing, stop_reading;            /* atomic */
  guint flush_ms;                             /* set before stop_writing */
  GMutex mutex;                               /* of what follows */
  gint64 acknowledged_us[TRAFFIC_PARTITIONS]; /* when the youngest acknowledged send began */
  char *trouble;
  gint64 ends[TRAFFIC_PARTITIONS]; /* behind what was acknowledged or read */
  Ledger *ledger;                  /* of all, once they have ended */
};

Actor *actor_new(Traffic *traffic, guint32 number);
void actor_free(gpointer actor);

/* Owned by the caller; knows all brokers, or the door alone. */
MilenaClient *traffic_client(const Traffic *traffic, gboolean by_door);
/* Of a plain actor's next call: @turn counts those that went wrong. */
const char *traffic_address(const Actor *actor, guint turn);
void traffic_note_acknowledged(Traffic *traffic, const LedgerSend *send);
void traffic_note_trouble(Traffic *traffic, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The text of a value, with some more bytes that follow from it; owned by the caller. */
char *traffic_text_of_value(guint64 value);
/* The other way; 0 when it is no such text, to the last byte. */
guint64 traffic_value_of_text(const void *data, gsize size);

/* ---- Threads' functions, of an Actor ---- */

gpointer traffic_write(gpointer actor); /* through libmilena */
gpointer traffic_write_plainly(gpointer actor);
gpointer traffic_read(gpointer actor); /* through libmilena */
gpointer traffic_read_plainly(gpointer actor);

/* One plain fetch of many partitions: what came is noted as one poll, and @offsets move on.
 *
 * @no_proxy: this broker must lead
 * @partitions: bits of those that are asked for
 * @ret_high_watermarks: of those that were answered; may be NULL
 *
 * Returns NULL, or the failure of the call or of a partition. */
Failure *traffic_fetch(RpcClient *client, const char *address, gboolean no_proxy, guint32 partitions,
                       gint64 offsets[TRAFFIC_PARTITIONS], Actor *reader, guint32 poll,
                       gint64 ret_high_watermarks[TRAFFIC_PARTITIONS]);

G_END_DECLS
