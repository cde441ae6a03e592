/* Producers and consumers of one topic, that work on while everything breaks, and note what they did and were told.
 *
 * Producers: idempotent ones through libmilena, one of them with a deadline so short that it passes; and plain ones,
 * made of the public protos alone, that ask any broker, send one record at a time and try none again. Consumers:
 * through libmilena from the beginning, at the tail, and from places here and there; and a plain one that asks any
 * broker. Each is a thread with connections of its own. */
#pragma once

#include "tests/chaos/records/ledger.h"

G_BEGIN_DECLS

#define TRAFFIC_PARTITIONS 12
#define TRAFFIC_TOPIC "records"
#define TRAFFIC_PRODUCERS 5     /* processes 1 to 5 of the ledger */
#define TRAFFIC_FLUSH_MS 150000 /* longer than a delivery may take */

typedef struct Traffic Traffic;

typedef struct {
  const char *const *addresses; /* of the brokers, with ids from 1; copied */
  guint brokers;
  const char *flush; /* "always", "interval", "os"; static */
  guint64 seed;
  const char *door; /* one address behind which the brokers are: some actors know no other; NULL: all know all */
} TrafficOptions;

/* Of process @index + 1; static. */
const char *traffic_producer_name(guint index);

Traffic *traffic_new(const TrafficOptions *options);
/* Create the topic, with a factor of 3 and a minimum of 2, and begin. Returns NULL, or why there is no topic; owned by
 * the caller. */
char *traffic_start(Traffic *traffic);
/* Producers end; consumers go on. @flush_ms: how long at most for answers to what was sent */
void traffic_stop_writing(Traffic *traffic, guint flush_ms);
/* Consumers end as well; what was not answered by then stays so. Once or more often. */
void traffic_stop(Traffic *traffic);
void traffic_free(Traffic *traffic); /* after traffic_stop, or if it was never started; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Traffic, traffic_free)

/* ---- While it runs; any thread ---- */

/* Every partition has acknowledged a send that began after this moment. @partitions: bits of those that are meant */
gboolean traffic_is_acknowledged(Traffic *traffic, guint32 partitions, gint64 since_us);
/* The partitions that have not; "3, 7"; owned by the caller. */
char *traffic_silent_partitions(Traffic *traffic, gint64 since_us);

/* How long at most a partition had no acknowledgement between two moments, of sends that began in between. Once writing
 * has begun.
 *
 * @by_door: of the producers that know the one address; else of the others */
gint64 traffic_longest_silence_us(Traffic *traffic, gint64 since_us, gint64 until_us, gboolean by_door);

/* ---- Who leads; one thread at a time ---- */

#define TRAFFIC_ALL ((guint32)((1u << TRAFFIC_PARTITIONS) - 1))

typedef struct {
  gint32 leaders[TRAFFIC_PARTITIONS]; /* ids of brokers, or -1 */
  guint in_sync[TRAFFIC_PARTITIONS];
} TrafficView;

/* As the active controller has it. FALSE without an answer within @timeout_ms. */
gboolean traffic_look(Traffic *traffic, guint timeout_ms, TrafficView *ret_view);
/* All partitions are led, and have all their replicas in sync. */
gboolean traffic_view_is_whole(const TrafficView *view);
/* Bits of the partitions that this broker leads. */
guint32 traffic_view_led_by(const TrafficView *view, gint32 broker_id);
/* The broker that leads most; -1 when none leads. */
gint32 traffic_view_top(const TrafficView *view);
/* Change who leads, at random. Returns NULL or why not; owned by the caller. */
char *traffic_shuffle(Traffic *traffic, GRand *random);
/* Begin to take one replica away from partitions at random, or to give all of them all back. As above. */
char *traffic_shrink(Traffic *traffic, GRand *random);
char *traffic_grow(Traffic *traffic);

/* ---- The end ---- */

/* Wait until the view is whole. Returns NULL or what is missing; owned by the caller. */
char *traffic_settle(Traffic *traffic, guint timeout_s);
/* Let each broker lead every partition in turn, and read all of it there. After traffic_stop. Returns NULL or why that
 * was not possible; owned by the caller. */
char *traffic_read_all(Traffic *traffic);
/* What all did, to which others may add what they did. After traffic_stop; borrowed. */
Ledger *traffic_ledger(Traffic *traffic);
/* The first error that a consumer should not have had, or NULL; borrowed. */
const char *traffic_trouble(Traffic *traffic);

G_END_DECLS
