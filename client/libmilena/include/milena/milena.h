/* libmilena: the C client library of Milena.
 *
 *   MilenaClient *client;
 *   MilenaError *error = milena_client_new("localhost:7600", NULL, &client);
 *   MilenaProducer *producer = milena_producer_new(client, NULL);
 *   MilenaRecord record = MILENA_RECORD_INIT;
 *   record.topic = "greetings";
 *   record.value = milena_bytes_text("hello");
 *   error = milena_producer_send_sync(producer, &record, 5000, NULL);
 *   milena_producer_free(producer, 5000);
 *   milena_client_free(client);
 *
 * Conventions
 *   - A function that can fail returns a MilenaError that the caller frees, or NULL when it went well. Where nothing
 *     else is said, what it would have given back is then untouched.
 *   - `ret_*` arguments are outputs. What is given back is owned by the caller and freed by the function named with it,
 *     unless the text says borrowed.
 *   - Strings are UTF-8 and end with NUL. Arguments are borrowed for the call alone.
 *   - Every call that may wait takes timeout_ms: 0 never waits, -1 waits for ever.
 *   - Times are milliseconds since 1970 in UTC.
 *   - Any thread may call anything, unless the text says otherwise. A client, a producer and a consumer may be shared
 * by threads; a consumer by one at a time. Nothing may be used after its _free, and none may be used after fork().
 *   - A process may hold several clients; they share nothing. */
#ifndef MILENA_MILENA_H
#define MILENA_MILENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---- */

/* Why something failed: a canonical gRPC code, Milena's reason, a sentence for people, and details for programs. */
typedef struct MilenaError MilenaError;

/* The canonical gRPC code, 1 to 16: 5 is NOT_FOUND and so on. 0 for NULL. */
int milena_error_code(const MilenaError *error);
/* The code's name: "NOT_FOUND"; "OK" for NULL. Static. */
const char *milena_error_code_name(const MilenaError *error);
/* Milena's reason, as milena.v1.ErrorReason names it without its prefix: "UNKNOWN_TOPIC". "UNSPECIFIED" for what came
 * from below Milena: a connection that was refused, say. Static. */
const char *milena_error_reason(const MilenaError *error);
/* What happened, to what, and what to do; borrowed from the error. "OK" for NULL. */
const char *milena_error_message(const MilenaError *error);
/* A detail such as "leader_address" or "earliest"; borrowed from the error; NULL when there is none. */
const char *milena_error_metadata(const MilenaError *error, const char *key);
/* Details by index, 0 and up: returns false behind the last. Both borrowed from the error. */
bool milena_error_metadata_at(const MilenaError *error, size_t index, const char **ret_key, const char **ret_value);
/* The same call may work later, and nothing was changed by this one. */
bool milena_error_is_retriable(const MilenaError *error);
/* It is not known whether it was done: a record may or may not have been written. Never true together with
 * milena_error_is_retriable. */
bool milena_error_is_outcome_unknown(const MilenaError *error);
MilenaError *milena_error_copy(const MilenaError *error); /* NULL gives NULL */
void milena_error_free(MilenaError *error);               /* NULL is fine */

/* ---- bytes, records ---- */

/* Some bytes, or none: data NULL means that there are none at all, which differs from empty ones. */
typedef struct {
  const void *data;
  size_t size;
} MilenaBytes;

/* The bytes of a string, without its NUL. NULL gives none. */
MilenaBytes milena_bytes_text(const char *text);

/* A named value beside a record's key and value; names may repeat. */
typedef struct {
  const char *name; /* not empty */
  MilenaBytes value;
} MilenaHeader;

/* The key's partition, or, without a key, any. */
#define MILENA_PARTITION_ANY (-1)
/* The clock at the time of the send. */
#define MILENA_TIMESTAMP_NOW INT64_MIN

/* A record to write. Start from MILENA_RECORD_INIT. */
typedef struct {
  const char *topic;
  int32_t partition; /* from 0, or MILENA_PARTITION_ANY */
  MilenaBytes key;   /* records with one key go to one partition, in order */
  MilenaBytes value; /* none is a tombstone */
  const MilenaHeader *headers;
  size_t header_count;
  int64_t timestamp_ms; /* or MILENA_TIMESTAMP_NOW */
} MilenaRecord;

#define MILENA_RECORD_INIT                                                                                             \
  { NULL, MILENA_PARTITION_ANY, {NULL, 0}, {NULL, 0}, NULL, 0, MILENA_TIMESTAMP_NOW }

/* ---- client ---- */

/* A connection to a cluster: it knows brokers, topics and leaders, and has a thread of its own. */
typedef struct MilenaClient MilenaClient;

typedef struct {
  /* How long one try at one broker may take, before another broker is asked. */
  int32_t attempt_timeout_ms;
  /* First pause before a retry; it doubles, with a random part, up to the second. */
  int32_t backoff_ms;
  int32_t backoff_max_ms;
  /* Bound of one message that arrives, in bytes; above the largest batch. */
  uint32_t receive_max_bytes;
  /* Talk to the bootstrap addresses alone, never to those that brokers tell of themselves: for a client outside the
   * network of the cluster, which reaches it through one address, or a forwarded port. All goes through the broker
   * behind it, which forwards to leaders and coordinators: that costs a hop, and that broker's CPU. */
  bool bootstrap_only;
} MilenaClientOptions;

/* Fill in the defaults: 5,000; 50; 1,000; 68 MiB; false. */
void milena_client_options_init(MilenaClientOptions *options);

/* Make a client. Does not connect yet: an address that nobody answers at shows in the first call.
 *
 * @bootstrap: some brokers, "host:port,host:port"; the rest of the cluster is learnt from any of them. A port may be
 *             left out: 7600. IPv6 addresses stand in brackets: "[::1]:7600"
 * @options: NULL for the defaults
 * @ret_client: freed with milena_client_free
 *
 * Fails with INVALID_FIELD for a bootstrap list that is malformed. */
MilenaError *milena_client_new(const char *bootstrap, const MilenaClientOptions *options, MilenaClient **ret_client);
/* End it. Its producers and consumers must have been freed. Not in a callback. NULL is fine. */
void milena_client_free(MilenaClient *client);
/* The version of the library: "0.1.0". Static. */
const char *milena_version(void);

/* ---- producer ---- */

typedef struct MilenaProducer MilenaProducer;

/* When a write is answered. */
typedef enum {
  MILENA_ACKS_NONE = 1,   /* on receipt, without an offset: it may be lost */
  MILENA_ACKS_LEADER = 2, /* when the leader has it */
  MILENA_ACKS_ALL = 3,    /* when all in-sync replicas have it */
} MilenaAcks;

typedef enum {
  MILENA_COMPRESSION_NONE = 1,
  MILENA_COMPRESSION_ZSTD = 2,
  MILENA_COMPRESSION_LZ4 = 3,
} MilenaCompression;

/* Where records without a key and a partition go. Keys decide by themselves (murmur2, as in Kafka's Java client). */
typedef enum {
  MILENA_PARTITIONER_STICKY = 1,      /* one partition until its batch is full, then another */
  MILENA_PARTITIONER_ROUND_ROBIN = 2, /* strictly in turn, record by record */
} MilenaPartitioner;

/* Start from milena_producer_options_init. */
typedef struct {
  MilenaAcks acks;
  MilenaCompression compression;
  MilenaPartitioner partitioner;
  /* How long a batch waits for more records; 0: it leaves as soon as the partition is free. */
  int32_t linger_ms;
  /* A batch is closed when its serialised records reach this, 1 KiB to 64 MiB; the topic's max_message_bytes bounds it
   * too. A record that is larger goes alone. */
  uint32_t batch_bytes;
  /* Batches that may be unanswered at one broker, 1 or more: with many partitions and few records in each, this many at
   * most are written in the time of one answer. Of one partition up to 5 are, or 1 when not idempotent:
   * that keeps their order. */
  uint32_t in_flight_max;
  /* Bound of what waits and is unanswered, in bytes: then a send waits, see milena_producer_send. */
  uint64_t buffer_bytes;
  /* How long a send may wait for room or for the topic's metadata; 0: fails at once. */
  int32_t block_timeout_ms;
  /* From the send to the delivery report, retries included. */
  int32_t timeout_ms;
  /* How long one try may stay unanswered; then its outcome is unknown. */
  int32_t request_timeout_ms;
  /* Batches are numbered, so that brokers write each once, however often it is sent: whatever happens is retried until
   * timeout_ms, and no record is doubled. Has no effect with acks none. Brokers that are too old for it are an error
   * (UNSUPPORTED). */
  bool idempotent;
  /* Without `idempotent`: retry too when it is not known whether the batch was written: at least once, perhaps twice.
   * Otherwise only what certainly was not written is retried, and an unknown outcome is reported as such. */
  bool retry_unknown;
} MilenaProducerOptions;

/* Fill in the defaults: acks all, no compression, sticky, linger 5 ms, batches of 512 KiB, 256 in flight, 64 MiB of
 * buffer, block 60 s, timeout 120 s, request timeout 15 s, idempotent, retry_unknown off. */
void milena_producer_options_init(MilenaProducerOptions *options);

/* What became of a record. All borrowed for the callback. */
typedef struct {
  const char *topic;
  int32_t partition;        /* MILENA_PARTITION_ANY when it failed before one was chosen */
  int64_t offset;           /* -1 with acks none, and on errors */
  int64_t timestamp_ms;     /* the record's */
  int64_t append_time_ms;   /* when the leader appended it; 0 with acks none, and on errors */
  int32_t leader_epoch;     /* of the leader that appended it */
  uint32_t replicas;        /* had it when the answer left */
  uint32_t synced_replicas; /* had it on disk (fsync) when the answer left */
  bool duplicate;           /* had been written before, by an earlier try */
  const MilenaError *error; /* NULL: written. See milena_error_is_outcome_unknown */
} MilenaDelivery;

/* Called once for each record that was accepted, in order for each partition, on the client's thread: be quick, and
 * call nothing that waits (a send that would have to wait fails at once there). */
typedef void (*MilenaDeliveryFunc)(const MilenaDelivery *delivery, void *user_data);

/* @options: NULL for the defaults; values out of range are brought into it. Never NULL. */
MilenaProducer *milena_producer_new(MilenaClient *client, const MilenaProducerOptions *options);

/* Accept a record: it is copied into a batch and sent from another thread.
 *
 * @done: what to call with its delivery report; may be NULL
 *
 * Waits up to block_timeout_ms while the buffer is full, or the topic not known yet. When it fails the record was not
 * accepted, and @done will not be called:
 *   LIMIT_EXCEEDED    the buffer stayed full (retriable: milena_error_is_retriable)
 *   UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_FIELD, RECORD_TOO_LARGE
 *   or why no broker could be reached. */
MilenaError *milena_producer_send(MilenaProducer *producer, const MilenaRecord *record, MilenaDeliveryFunc done,
                                  void *user_data);

/* Where a record went. */
typedef struct {
  int32_t partition;
  int64_t offset; /* -1 with acks none */
  int64_t timestamp_ms;
  int64_t append_time_ms;
  int32_t leader_epoch;
  uint32_t replicas;
  uint32_t synced_replicas;
  bool duplicate;
} MilenaReceipt;

/* Write one record, without linger, and wait for its delivery.
 *
 * @timeout_ms: when it passes the outcome is unknown
 * @ret_receipt: may be NULL */
MilenaError *milena_producer_send_sync(MilenaProducer *producer, const MilenaRecord *record, int32_t timeout_ms,
                                       MilenaReceipt *ret_receipt);
/* Send what waits now, without linger, and wait until all that was accepted has been reported. Fails with
 * DEADLINE_EXCEEDED, then all goes on as before; errors of single records are in their reports alone. */
MilenaError *milena_producer_flush(MilenaProducer *producer, int32_t timeout_ms);

/* Counters since the start; a consistent moment. */
typedef struct {
  uint64_t records_accepted;
  uint64_t records_delivered;
  uint64_t records_failed;  /* among them those of unknown outcome */
  uint64_t records_unknown; /* outcome unknown */
  uint64_t bytes_accepted;  /* of keys and values */
  uint64_t bytes_sent;      /* of batches, as encoded, retries included */
  uint64_t batches_sent;
  uint64_t batches_retried;
  uint64_t buffered_bytes; /* now: waiting and unanswered */
} MilenaProducerStats;
void milena_producer_stats(MilenaProducer *producer, MilenaProducerStats *ret_stats);

/* Flush for at most @flush_timeout_ms, report what is left (not written, or outcome unknown), and free it. No report
 * comes after it. Not in a callback. NULL is fine. */
void milena_producer_free(MilenaProducer *producer, int32_t flush_timeout_ms);

/* ---- positions ---- */

/* A place in a partition. */
typedef enum {
  MILENA_POSITION_BEGINNING = 1, /* the first record that is kept */
  MILENA_POSITION_END = 2,       /* behind the last record that readers see */
  MILENA_POSITION_OFFSET = 3,    /* value: the offset */
  MILENA_POSITION_TIME = 4,      /* value: the first record at or after this time */
} MilenaPositionKind;

typedef struct {
  MilenaPositionKind kind;
  int64_t value; /* of OFFSET and TIME */
} MilenaPosition;

#define MILENA_BEGINNING ((MilenaPosition){MILENA_POSITION_BEGINNING, 0})
#define MILENA_END ((MilenaPosition){MILENA_POSITION_END, 0})
#define MILENA_AT_OFFSET(offset) ((MilenaPosition){MILENA_POSITION_OFFSET, (offset)})
#define MILENA_AT_TIME(ms) ((MilenaPosition){MILENA_POSITION_TIME, (ms)})

/* ---- consumer ---- */

typedef struct MilenaConsumer MilenaConsumer;

/* What to do when the offset to read next does not exist: deleted by retention, or beyond the end. */
typedef enum {
  MILENA_RESET_ERROR = 1,     /* poll gives OFFSET_OUT_OF_RANGE, with "earliest" and "latest"; seek to go on */
  MILENA_RESET_BEGINNING = 2, /* go on at the beginning */
  MILENA_RESET_END = 3,       /* go on at the end */
} MilenaReset;

/* Start from milena_consumer_options_init. */
typedef struct {
  /* Bound of what was fetched and not polled yet, in bytes; one answer may pass it. */
  uint64_t prefetch_bytes;
  /* Bound of one answer, and of one partition's part of it; a larger batch comes alone. */
  uint32_t fetch_bytes;
  uint32_t partition_fetch_bytes;
  /* A broker answers when it has so many bytes, or after max_wait_ms. */
  uint32_t min_bytes;
  int32_t max_wait_ms;
  /* Records that one poll gives at most. */
  uint32_t poll_records_max;
  MilenaReset reset;
  /* A poll gathers what was fetched of a partition, batch by batch, until it has so many bytes of keys and values; the
   * batch that passes it is given whole. 0: one batch. */
  uint32_t poll_bytes_max;
} MilenaConsumerOptions;

/* Fill in the defaults: 32 MiB, 4 MiB, 1 MiB, 1 byte, 500 ms, 1,000 records, error, 1 MiB. */
void milena_consumer_options_init(MilenaConsumerOptions *options);

/* A record that was read. All borrowed from its MilenaRecordBatch. */
typedef struct {
  int64_t offset;
  int64_t timestamp_ms;
  MilenaBytes key;
  MilenaBytes value;
  const MilenaHeader *headers;
  size_t header_count;
  int32_t leader_epoch; /* of the leader that appended it */
} MilenaConsumedRecord;

/* Records of one partition, in the order of their offsets. */
typedef struct {
  const char *topic;
  int32_t partition;
  const MilenaConsumedRecord *records;
  size_t count;
  int64_t next_offset;      /* where the next poll of this partition goes on */
  int64_t high_watermark;   /* readers see what is before it; as of the fetch */
  int64_t log_start_offset; /* the first offset that is kept; as of the fetch */
} MilenaRecordBatch;

/* A partition and where to start reading it. */
typedef struct {
  const char *topic;
  int32_t partition;
  MilenaPosition start;
} MilenaAssignment;

/* @options: NULL for the defaults; values out of range are brought into it. Never NULL. */
MilenaConsumer *milena_consumer_new(MilenaClient *client, const MilenaConsumerOptions *options);
/* Read these partitions from now on, and no others; what was fetched before is dropped. Does not wait: a topic that
 * does not exist shows in poll.
 *
 * Fails with INVALID_FIELD: a partition twice, a negative number, an unknown kind of position. */
MilenaError *milena_consumer_assign(MilenaConsumer *consumer, const MilenaAssignment *assignments, size_t count);
/* The same for all partitions that the topic has now. Waits for metadata. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_consumer_assign_topic(MilenaConsumer *consumer, const char *topic, MilenaPosition start,
                                          int32_t timeout_ms);
/* The next records of any partition: of the one that waited longest, as many as were fetched and as one poll may give.
 *
 * @ret_batch: borrowed until the next poll, assign or free; NULL when nothing came within @timeout_ms
 *
 * Troubles that pass (a broker that restarts, an election) are waited out: see milena_consumer_trouble. Fails with what
 * does not pass: OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC, UNKNOWN_PARTITION, TOPIC_ID_MISMATCH (re-created), CORRUPT_LOG;
 * metadata says "topic", "partition" and "offset". That partition then rests until a seek; others go on. */
MilenaError *milena_consumer_poll(MilenaConsumer *consumer, int32_t timeout_ms, const MilenaRecordBatch **ret_batch);
/* Go on elsewhere in one partition that is assigned; what was fetched of it is dropped. Does not wait.
 * Fails with INVALID_FIELD. */
MilenaError *milena_consumer_seek(MilenaConsumer *consumer, const char *topic, int32_t partition,
                                  MilenaPosition position);
/* The offset that the next poll gives at the earliest; -1 while a start that is no offset is still being looked up.
 *
 * @ret_high_watermark: as last heard, or -1; may be NULL
 *
 * Fails with INVALID_FIELD for a partition that is not assigned. */
MilenaError *milena_consumer_position(MilenaConsumer *consumer, const char *topic, int32_t partition,
                                      int64_t *ret_offset, int64_t *ret_high_watermark);
/* Why nothing comes: the latest trouble that is being waited out, as a new error, or NULL when all goes well. */
MilenaError *milena_consumer_trouble(MilenaConsumer *consumer);
void milena_consumer_free(MilenaConsumer *consumer); /* NULL is fine; not in a callback */

/* ---- administration ---- */

/* When a write goes to the disk. */
typedef enum {
  MILENA_FLUSH_DEFAULT = 0,
  MILENA_FLUSH_ALWAYS = 1,   /* fsync before the answer */
  MILENA_FLUSH_INTERVAL = 2, /* fsync within flush_interval_ms; the answer does not wait for it */
  MILENA_FLUSH_OS = 3,       /* whenever the operating system likes */
} MilenaFlush;

/* How old records go. */
typedef enum {
  MILENA_CLEANUP_DEFAULT = 0,
  MILENA_CLEANUP_DELETE = 1,  /* by age and size */
  MILENA_CLEANUP_COMPACT = 2, /* the last record of each key stays */
} MilenaCleanupPolicy;

/* No bound, for retention_ms and retention_bytes. */
#define MILENA_FOR_EVER (-1)
/* Zero, where 0 stands for a default that is another. */
#define MILENA_ZERO (-1)

/* Configuration of a topic; 0 stands for the default. */
typedef struct {
  MilenaFlush flush;
  int64_t flush_interval_ms;
  uint32_t max_message_bytes; /* of an encoded batch */
  uint32_t min_insync_replicas;
  bool unclean_leader_election; /* a replica that lacks acknowledged records may lead when no other can */
  MilenaCleanupPolicy cleanup_policy;
  int64_t retention_ms;             /* records go when they are older: 7 days by default; or MILENA_FOR_EVER */
  int64_t retention_bytes;          /* of a partition: its oldest go beyond so many; MILENA_FOR_EVER by default */
  int64_t delete_retention_ms;      /* compacted: so long tombstones stay, 1 day by default; or MILENA_ZERO */
  int64_t min_compaction_lag_ms;    /* compacted: records that are younger are left alone */
  double min_cleanable_dirty_ratio; /* compacted: when so much is new; 0.5 by default; or MILENA_ZERO */
} MilenaTopicConfig;

typedef struct {
  int32_t partition;
  int32_t leader_id; /* -1: none now */
  int32_t leader_epoch;
  int32_t *replicas; /* ids of brokers, the preferred leader first */
  size_t replica_count;
  int32_t *in_sync_replicas;
  size_t in_sync_replica_count;
  uint64_t log_id;
  int32_t *eligible_replicas; /* out of sync since fewer than the minimum remained; they have all that is committed */
  size_t eligible_replica_count;
  int32_t *target_replicas; /* where a reassignment under way goes; none: there is none */
  size_t target_replica_count;
} MilenaPartition;

typedef struct {
  char *name;
  char *id; /* a UUID */
  uint32_t replication_factor;
  MilenaTopicConfig config;           /* as it was set */
  MilenaTopicConfig effective_config; /* with the defaults */
  MilenaPartition *partitions;        /* in order */
  size_t partition_count;
} MilenaTopic;

typedef struct {
  MilenaTopic *topics; /* in the order of their names */
  size_t count;
} MilenaTopicList;

typedef struct {
  int32_t id;
  char *rack;    /* or empty */
  char *address; /* host:port */
  uint64_t epoch;
  bool fenced; /* missed its heartbeats, or not up yet */
  uint32_t leader_count;
  uint32_t replica_count;
  bool drained;  /* for maintenance: it leads only what nobody else can */
  bool stopping; /* about to stop */
  bool disk_low; /* its disk is nearly full: it refuses records, and leads only what nobody else can */
} MilenaBroker;

typedef struct {
  MilenaBroker *brokers; /* in the order of their ids */
  size_t count;
} MilenaBrokerList;

/* A controller or a coordinator. */
typedef struct {
  int32_t id;
  char *address; /* host:port */
  bool fenced;   /* of coordinators */
} MilenaNode;

/* The cluster as one broker knows it. */
typedef struct {
  char *cluster_id;
  uint64_t version; /* of the metadata */
  MilenaBrokerList brokers;
  MilenaNode *controllers;
  size_t controller_count;
  int32_t active_controller_id; /* -1: none now */
  MilenaNode *coordinators;
  size_t coordinator_count;
  MilenaTopicList topics;
} MilenaCluster;

void milena_topic_free(MilenaTopic *topic); /* NULL is fine, as for all of these */
void milena_topic_list_free(MilenaTopicList *list);
void milena_broker_free(MilenaBroker *broker);
void milena_broker_list_free(MilenaBrokerList *list);
void milena_cluster_free(MilenaCluster *cluster);

/* A topic to create. Zero everything that the default is good for. */
typedef struct {
  const char *name;
  uint32_t partitions;         /* 0: 1 */
  uint32_t replication_factor; /* 0: the cluster's default */
  MilenaTopicConfig config;
  bool validate_only; /* only check */
} MilenaNewTopic;

/* Create a topic; returns when all its partitions have leaders.
 *
 * @ret_topic: milena_topic_free; may be NULL
 *
 * Fails with TOPIC_EXISTS, INVALID_FIELD, NOT_ENOUGH_BROKERS, UNSUPPORTED. */
MilenaError *milena_admin_create_topic(MilenaClient *client, const MilenaNewTopic *topic, int32_t timeout_ms,
                                       MilenaTopic **ret_topic);
/* All topics. @ret_list: milena_topic_list_free. */
MilenaError *milena_admin_list_topics(MilenaClient *client, int32_t timeout_ms, MilenaTopicList **ret_list);
/* One topic, as the controller knows it. @ret_topic: milena_topic_free. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_describe_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                         MilenaTopic **ret_topic);
/* Change a topic's configuration.
 *
 * @fields: names of the fields to take from @config: "flush", "flush_interval", "max_message_bytes",
 *          "min_insync_replicas", "unclean_leader_election", "cleanup_policy", "retention", "retention_bytes",
 * "delete_retention", "min_compaction_lag", "min_cleanable_dirty_ratio"; a field that is named and 0 goes back to its
 * default
 *
 * Where the outcome of a try is unknown it is tried again: the fields are set to these values once more, also where
 * somebody else set them meanwhile.
 *
 * @ret_topic: milena_topic_free; may be NULL */
MilenaError *milena_admin_alter_topic(MilenaClient *client, const char *name, const MilenaTopicConfig *config,
                                      const char *const *fields, size_t field_count, bool validate_only,
                                      int32_t timeout_ms, MilenaTopic **ret_topic);
/* Delete a topic and its records. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_delete_topic(MilenaClient *client, const char *name, bool validate_only, int32_t timeout_ms);
/* Give a topic more partitions. Keys move.
 *
 * @total_partitions: more than now
 * @ret_topic: milena_topic_free; may be NULL
 * @ret_warning: what to know, freed with milena_string_free; may be NULL */
MilenaError *milena_admin_add_partitions(MilenaClient *client, const char *name, uint32_t total_partitions,
                                         bool validate_only, int32_t timeout_ms, MilenaTopic **ret_topic,
                                         char **ret_warning);
void milena_string_free(char *string); /* NULL is fine */

/* All brokers. @ret_list: milena_broker_list_free. */
MilenaError *milena_admin_list_brokers(MilenaClient *client, int32_t timeout_ms, MilenaBrokerList **ret_list);
/* One broker. @ret_broker: milena_broker_free. Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_get_broker(MilenaClient *client, int32_t id, int32_t timeout_ms, MilenaBroker **ret_broker);
/* The whole cluster. @ret_cluster: milena_cluster_free. */
MilenaError *milena_admin_describe_cluster(MilenaClient *client, int32_t timeout_ms, MilenaCluster **ret_cluster);

/* One topic as any broker's metadata has it: works without a controller too, for who wants to produce or consume.
 * @ret_topic: milena_topic_free. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_find_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                     MilenaTopic **ret_topic);

typedef struct {
  const char *topic;
  int32_t partition;
  MilenaPosition position;
} MilenaOffsetQuery;

typedef struct {
  int64_t offset;       /* -1 with an error. For a time after the last record: the end */
  int64_t timestamp_ms; /* for a time: of the record that was found; else 0 */
  MilenaError *error;   /* of this query; NULL when it was found */
} MilenaOffsetResult;

/* Find offsets.
 *
 * @ret_results: one for each query, in order; freed with milena_offset_results_free
 *
 * Fails as a whole when no broker could be asked; errors of single queries are in the results. */
MilenaError *milena_admin_list_offsets(MilenaClient *client, const MilenaOffsetQuery *queries, size_t count,
                                       int32_t timeout_ms, MilenaOffsetResult **ret_results);
void milena_offset_results_free(MilenaOffsetResult *results, size_t count); /* NULL is fine */

/* ---- records that go ---- */

typedef struct {
  const char *topic;
  int32_t partition;
  int64_t before_offset; /* records below it are deleted; -1: all that are committed */
} MilenaDeletion;

typedef struct {
  int64_t log_start_offset; /* the first offset that is kept now; -1 with an error */
  MilenaError *error;       /* of this deletion; NULL when it was done */
} MilenaDeletionResult;

/* Delete the oldest records of partitions. It is done when all replicas in sync have let go of them.
 *
 * @ret_results: one for each deletion, in order; freed with milena_admin_deletion_results_free
 *
 * Fails as a whole when no broker could be asked; errors of single deletions are in the results: OFFSET_OUT_OF_RANGE,
 * UNKNOWN_TOPIC, INTERNAL_TOPIC, UNSUPPORTED for compacted topics, UNKNOWN_OUTCOME (it may be asked again). */
MilenaError *milena_admin_delete_records(MilenaClient *client, const MilenaDeletion *deletions, size_t count,
                                         bool validate_only, int32_t timeout_ms, MilenaDeletionResult **ret_results);
void milena_admin_deletion_results_free(MilenaDeletionResult *results, size_t count); /* NULL is fine */

/* A time segment of a broker's store. It goes as a whole, when no log needs anything in it. */
typedef struct {
  uint32_t number;
  int64_t created_ms;
  int64_t bytes;         /* of the batches that were written to it */
  int64_t expired_bytes; /* of those, what no log needs any more */
  uint64_t log_count;    /* logs that need something in it */
} MilenaStorageSegment;

/* What a broker's logs take of its disk. */
typedef struct {
  int32_t broker_id;
  uint64_t log_count;
  int64_t disk_bytes;             /* of its database's files */
  int64_t live_bytes;             /* of batches that logs need */
  int64_t expired_held_bytes;     /* of batches that no log needs, but that lie in segments that are needed */
  MilenaStorageSegment *segments; /* oldest first */
  size_t segment_count;
} MilenaBrokerStorage;

/* @ret_storage: milena_broker_storage_free. Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_get_broker_storage(MilenaClient *client, int32_t id, int32_t timeout_ms,
                                             MilenaBrokerStorage **ret_storage);
void milena_broker_storage_free(MilenaBrokerStorage *storage); /* NULL is fine */

/* ---- administration of replicas ---- */

/* Take a broker out of service for maintenance: its leaderships move to other replicas in sync, and it gets no new
 * replicas. It goes on following, and leads what nobody else can. A second call changes nothing.
 *
 * @ret_broker: as it is then; its leader_count is how many partitions only it can lead. milena_broker_free; may be NULL
 *
 * Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_drain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                       MilenaBroker **ret_broker);
/* Take a drained broker back into service; it gets its preferred leaderships back by and by. As the call before. */
MilenaError *milena_admin_undrain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                         MilenaBroker **ret_broker);

typedef enum {
  MILENA_ELECTION_PREFERRED = 1, /* the first of the replicas leads, where it is in sync */
  /* Any replica that is up leads, where nobody else can: acknowledged records that it lacks are lost. The controller
   * logs it. */
  MILENA_ELECTION_UNCLEAN = 2,
  /* The same; and a leader that alone counts, and whose log is damaged, cuts it in front of the damage and takes
   * records again: what lies behind is lost. For partitions that are named. */
  MILENA_ELECTION_UNCLEAN_CUTTING_DAMAGE = 3,
} MilenaElection;

/* A partition with a new leader. */
typedef struct {
  char *topic;
  int32_t partition;
  int32_t leader_id;
  bool unclean; /* it may lack records that were acknowledged, or cuts what is damaged of them */
} MilenaElectedLeader;

typedef struct {
  MilenaElectedLeader *leaders;
  size_t count;
} MilenaElectedList;

void milena_elected_list_free(MilenaElectedList *list); /* NULL is fine */

/* Elect leaders anew.
 *
 * @topic: NULL: all topics, for preferred leaders only
 * @partitions, @count: none: all of the topic
 * @ret_list: whom it changed; milena_elected_list_free; may be NULL. A call that had to be tried again may tell none
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_FIELD. */
MilenaError *milena_admin_elect_leaders(MilenaClient *client, MilenaElection election, const char *topic,
                                        const int32_t *partitions, size_t count, bool validate_only, int32_t timeout_ms,
                                        MilenaElectedList **ret_list);

/* Where a partition shall go. */
typedef struct {
  const char *topic;
  int32_t partition;
  const int32_t *replicas; /* ids of brokers, the preferred leader first */
  size_t replica_count;
  uint64_t throttle_bytes_per_s; /* to replicas that are not in sync, from each broker, of all partitions that move with
                                  * a throttle; 0: no bound. Alone it may be changed while the partition moves */
} MilenaMove;

/* A reassignment under way. */
typedef struct {
  char *topic;
  int32_t partition;
  int32_t *target_replicas;
  size_t target_replica_count;
  int32_t *pending_replicas; /* those of the target that are not in sync yet */
  size_t pending_replica_count;
  int64_t
      *pending_remaining;   /* offsets that each of those lacks, a second or two ago; -1: not told (yet). A listing's */
  int64_t *pending_bytes;   /* about how many bytes that is; -1: not told */
  int64_t *pending_seconds; /* in how many seconds it has all, at the rate of the last ones; -1: nobody can say (yet) */
  int32_t *replicas_before;
  size_t replica_before_count;
  uint64_t throttle_bytes_per_s; /* 0: none */
  int64_t leader_end_offset;     /* when it told pending_remaining; 0: it has not */
} MilenaReassignment;

typedef struct {
  MilenaReassignment *reassignments; /* of a listing: in the order of topics, then partitions */
  size_t count;
} MilenaReassignmentList;

void milena_reassignment_list_free(MilenaReassignmentList *list); /* NULL is fine */

/* Move partitions to other brokers, or give them more or fewer replicas: new replicas are added, catch up, and then
 * take the place of the old ones. All are accepted, or none; a partition that moves already goes on to its new target.
 * A second call with the same moves changes nothing but their throttle.
 *
 * @ret_list: what is under way; a move that had nothing to wait for is not among them. milena_reassignment_list_free;
 *            may be NULL
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNKNOWN_BROKER, INVALID_FIELD, NOT_ENOUGH_BROKERS (a broker that is to
 * get a replica is fenced, drained or about to stop), NOT_ENOUGH_REPLICAS. */
MilenaError *milena_admin_reassign_partitions(MilenaClient *client, const MilenaMove *moves, size_t count,
                                              bool validate_only, int32_t timeout_ms,
                                              MilenaReassignmentList **ret_list);
/* All reassignments under way. @ret_list: milena_reassignment_list_free. */
MilenaError *milena_admin_list_reassignments(MilenaClient *client, int32_t timeout_ms,
                                             MilenaReassignmentList **ret_list);
/* Take reassignments back: the partitions stay where they were before.
 *
 * @topic: NULL: all topics
 * @partitions, @count: none: all of the topic
 * @ret_cancelled: how many; may be NULL. A call that had to be tried again may tell 0
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOT_ENOUGH_REPLICAS. */
MilenaError *milena_admin_cancel_reassignments(MilenaClient *client, const char *topic, const int32_t *partitions,
                                               size_t count, bool validate_only, int32_t timeout_ms,
                                               uint32_t *ret_cancelled);

/* ---- administration of the controllers ---- */

typedef enum {
  MILENA_CONTROLLER_UNKNOWN = 0,
  MILENA_CONTROLLER_VOTER = 1,   /* it votes, and its copy of the metadata counts */
  MILENA_CONTROLLER_LEARNER = 2, /* it follows without a vote, to catch up */
} MilenaControllerRole;

/* A controller, as the process that answered sees it. */
typedef struct {
  int32_t id;
  char *address;      /* where clients reach it, host:port; empty until it has told */
  char *peer_address; /* where controllers and brokers reach it, host:port */
  char *directory_id; /* a UUID of its data folder */
  MilenaControllerRole role;
  bool active;
  uint64_t match_index; /* the end of its log, as the active one knows it */
  uint64_t lag;         /* entries that it lacks */
  int64_t heard_ago_ms; /* -1: never, or itself */
  char *link_error;     /* why it can't be reached; empty when it can */
  char *catch_up;       /* of a learner: why it has no vote yet */
} MilenaController;

/* The controllers, and what they agree on. */
typedef struct {
  MilenaController *controllers; /* in the order of their ids */
  size_t count;
  char *cluster_id;    /* empty: they wait for their cluster */
  int32_t active_id;   /* -1: none is known */
  int32_t answered_by; /* the controller whose view this is; 0: a broker's, which reached none */
  uint64_t term;       /* these three as it knows them */
  uint64_t commit_index;
  uint64_t last_index;
} MilenaQuorum;

void milena_controller_free(MilenaController *controller); /* NULL is fine, as for all of these */
void milena_quorum_free(MilenaQuorum *quorum);

/* All controllers. Every broker and every controller answers it, also while none is active.
 * @ret_quorum: milena_quorum_free. */
MilenaError *milena_admin_list_controllers(MilenaClient *client, int32_t timeout_ms, MilenaQuorum **ret_quorum);
/* Add a controller that runs and has an empty folder. Returns when it votes, or, when the time comes near, with a
 * learner that still catches up: it gets its vote by itself.
 *
 * @ret_controller: milena_controller_free; may be NULL */
MilenaError *milena_admin_add_controller(MilenaClient *client, int32_t id, const char *peer_address, bool validate_only,
                                         int32_t timeout_ms, MilenaController **ret_controller);
/* Remove a controller.
 *
 * @directory_id: the folder that is meant; NULL: whichever it has
 * @force: also when the rest that answers now would be no majority
 *
 * Fails with UNKNOWN_CONTROLLER, DIRECTORY_MISMATCH, QUORUM_AT_RISK. */
MilenaError *milena_admin_remove_controller(MilenaClient *client, int32_t id, const char *directory_id, bool force,
                                            bool validate_only, int32_t timeout_ms);
/* Make another controller the active one.
 *
 * @id: 0 for the one that has caught up furthest
 * @ret_active_id, @ret_term: may be NULL */
MilenaError *milena_admin_transfer_leadership(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                              int32_t *ret_active_id, uint64_t *ret_term);

/* A controller of the cluster to be. */
typedef struct {
  int32_t id;               /* from 1 */
  const char *peer_address; /* host:port */
} MilenaInitialController;

/* Begin a cluster, once, with controllers whose folders are empty. The client's bootstrap address is one of theirs.
 *
 * @cluster_id: a UUID; NULL to have one made
 * @ret_cluster_id: freed with milena_string_free; may be NULL */
MilenaError *milena_admin_bootstrap_cluster(MilenaClient *client, const MilenaInitialController *controllers,
                                            size_t count, const char *cluster_id, bool validate_only,
                                            int32_t timeout_ms, char **ret_cluster_id);

#ifdef __cplusplus
}
#endif

#endif
