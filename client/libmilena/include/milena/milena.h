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

#ifdef __cplusplus
}
#endif

#include <milena/admin.h>

#endif
