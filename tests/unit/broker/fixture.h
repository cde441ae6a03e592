/* A broker's core without a cluster: two shards with their loops, a store in the test's folder, and an image that the
 * fixture makes up:
 *
 *   broker 1 (this one) and broker 2 (an address where nobody listens), both up
 *   topic "orders": partitions 0 to 3 led by this broker, 4 by broker 2, 5 by nobody; batches of 2,000 bytes at most
 *   topic "loose":  one partition, led here, flush=os */
#pragma once

#include "milena/v1/producer_service.pb-c.h"
#include "services/broker/front_internal.h"
#include "services/broker/partition_internal.h"
#include "services/broker/produce_internal.h"

G_BEGIN_DECLS

#define ORDERS_ID "11111111-1111-1111-1111-111111111111"
#define LOOSE_ID "22222222-2222-2222-2222-222222222222"
/* Log id of partition p of orders. */
#define ORDERS_LOG(p) (100 + (guint64)(p))
#define LOOSE_LOG G_GUINT64_CONSTANT(200)

/* Of both brokers' registrations. */
#define FIXTURE_EPOCH 5

typedef struct {
  Broker broker;
  MetadataImage *image;
} Fixture;

/* Open (again) the store in the test's folder, and publish the image. */
Fixture *fixture_new(void);
/* The same, with producers forgotten when they were idle for so long. */
Fixture *fixture_new_with_expiry(gint64 producer_expiry_ms);
void fixture_free(Fixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fixture, fixture_free)

/* Publish an image with more @records: a GPtrArray of MetadataRecord, taken. */
void fixture_publish(Fixture *fixture, GPtrArray *records);
/* Publish an image in which broker @leader (-1: none) leads partition 0 of orders with @epoch. */
void fixture_set_leader(Fixture *fixture, gint32 leader, gint32 epoch);
/* Publish an image in which loose has flush=always. */
void fixture_sync_loose(Fixture *fixture);
/* Publish an image in which broker 2 has replicas of partitions 0 to 3 of orders too, which this one leads with epoch
 * 1; it is not in sync. */
void fixture_share_orders(Fixture *fixture);
/* Publish an image without orders. */
void fixture_delete_orders(Fixture *fixture);
/* Publish an image that has orders again, with the same logs: as when metadata that was lost is found. */
void fixture_restore_orders(Fixture *fixture);

/* Run @func on shard @index and wait. */
void fixture_on(Fixture *fixture, guint index, void (*func)(gpointer data), gpointer data);
/* Wait until an atomic flag is set, at most 20 s. Returns whether it is. */
gboolean fixture_wait(const gint *flag);

/* A sealed batch of @count records "v0", "v1", ...; clear it. */
void fixture_batch(guint count, LogBatch *ret_batch);
/* Append @count records and wait. Returns the failure, owned by the caller; NULL: *@ret_receipt is set. */
Failure *fixture_append(Fixture *fixture, guint asker, guint64 log_id, gint32 epoch, guint count,
                        PartitionReceipt *ret_receipt);

/* What a ProduceRequest came to; pointers live until fixture_outcome_clear. */
typedef struct {
  Failure *failure; /* of the whole */
  Milena__V1__ProduceResponse *response;
} Outcome;
/* Produce through shard @index, and wait. */
Outcome fixture_produce(Fixture *fixture, guint index, const Milena__V1__ProduceRequest *request);
void fixture_outcome_clear(Outcome *outcome);

G_END_DECLS
