/* The inside of ProducerService. A *job* is one request, or one item of a stream; it is made of *items*: one batch for
 * one partition each. An item goes to the partition's shard here, or through a *link* to the leader's broker; where the
 * way is not known now, it waits at a *gate*, in order, until it is. All of it belongs to the front's loop. */
#pragma once

#include "milena/v1/producer_service.pb-c.h"
#include "services/broker/front_internal.h"
#include "services/broker/partition.h"
#include "services/broker/produce.h"
#include "storage/log/records.h"

G_BEGIN_DECLS

typedef struct ProduceJob ProduceJob;
typedef struct ProduceItem ProduceItem;
typedef struct ProduceGate ProduceGate;
typedef struct ProduceLink ProduceLink;
typedef struct ProduceIds ProduceIds;

struct Producer {
  Front *front;
  gboolean of_peers;     /* may write Milena's own topics */
  GHashTable *gates;     /* key → ProduceGate, owned: those that are shut now */
  GHashTable *links;     /* key → ProduceLink, owned */
  GHashTable *old_links; /* set of ProduceLink, owned: to brokers that stop, until they have answered all */
  FrontWatch watch;      /* ends the links to brokers that serve no more */
  GQueue jobs;           /* of ProduceJob, by link: not done yet */
  LogRecordsBuilder *builder;
  ProduceIds *ids;
  guint64 next_sequence; /* of what may wait at a gate */
};

/* ---- gates: produce_gate.c ---- */

/* Something that goes to one topic or partition, in its turn; embedded, zeroed at first. */
typedef struct ProduceTurn ProduceTurn;
struct ProduceTurn {
  guint64 sequence; /* its place among all; given by the first produce_gate_pass or _wait */
  /* Find the way and go. Returns NULL when it went, or ended; else why there is no way now: taken by the gate. */
  Failure *(*go)(ProduceTurn *turn);
  /* There is no way: end. @failure: borrowed */
  void (*give_up)(ProduceTurn *turn, const Failure *failure);

  /* The gate's. */
  ProduceGate *gate; /* where it waits, or NULL */
  GList link;
};

/* Go, or wait at the gate until the way is known.
 *
 * @topic_name, @topic_id: of what it goes to
 * @partition: -1 for the topic as a whole */
void produce_gate_pass(Producer *producer, ProduceTurn *turn, const char *topic_name, const char *topic_id,
                       gint32 partition);
/* The way that it took was wrong, and it may be sent again: wait for another. @failure: taken */
void produce_gate_wait(Producer *producer, ProduceTurn *turn, const char *topic_name, const char *topic_id,
                       gint32 partition, Failure *failure);
/* It waits no more; fine when it does not. */
void produce_gate_leave(Producer *producer, ProduceTurn *turn);
/* Give up on all that waits at gates: the broker stops. */
void produce_gates_drain(Producer *producer);
void produce_gate_free(gpointer gate);

/* ---- items and jobs: produce_job.c, produce_plan.c ---- */

typedef enum {
  ITEM_WAITING, /* not sent: nothing was written */
  ITEM_SENT,    /* to its shard or to another broker: an outcome will come */
  ITEM_DONE     /* failure or receipt are set */
} ProduceItemState;

struct ProduceItem {
  ProduceJob *job;
  ProduceTurn turn;
  ProduceItemState state;
  const char *topic_name, *topic_id; /* as requested; borrowed from the request */
  gint32 partition;
  guint batch_index;      /* of an encoded batch */
  GArray *record_indexes; /* of guint32: of plain records, else NULL */
  LogBatch batch;
  gboolean checked;
  gboolean may_be_written; /* an earlier try of a producer's batch had an unknown outcome: it is tried again */
  Route route;             /* the latest */

  /* The outcome. */
  PartitionReceipt receipt;
  Failure *failure;
};

/* What a request, or an item of a stream, asks for; borrowed from the message. */
typedef struct {
  const char *topic_name, *topic_id;
  size_t n_records;
  Milena__V1__Record **records;
  size_t n_batches;
  Milena__V1__PartitionBatch **batches;
  const Milena__V1__ProducerSequence *sequence; /* of `records`; NULL: none */
  Milena__V1__Acks acks;                        /* never ACKS_UNSPECIFIED */
  gboolean no_proxy;
  gint64 deadline_us;
} ProduceInput;

/* Called once, maybe before produce_job_start returns. */
typedef void (*ProduceJobDone)(ProduceJob *job, gpointer user_data);

struct ProduceJob {
  Producer *producer;
  RpcMessage *message; /* that everything in `input` lies in: a reference */
  ProduceInput input;
  ProduceJobDone done;
  gpointer user_data;
  guint holders;    /* what is on its way somewhere, and the starter until done was called */
  ProduceTurn turn; /* of the plain records: until their topic is known */
  GList link;       /* in the producer's jobs */
  Timer timer;
  MetadataImage *planned_by; /* that the plain records' partitions were chosen by: a reference */
  GPtrArray *items;          /* of ProduceItem, owned */
  guint undone;              /* items that are not DONE, and the plain records while they are not items */
  gboolean is_done;
  Failure *failure; /* of the whole */
};

/* Begin. @message: referenced. @done may use the job until it returns. */
void produce_job_start(Producer *producer, RpcMessage *message, const ProduceInput *input, ProduceJobDone done,
                       gpointer user_data);
/* Its time is over: end what has not ended. */
void produce_job_expire(ProduceJob *job);
void produce_job_hold(ProduceJob *job);
void produce_job_release(ProduceJob *job);
/* A new item, ITEM_WAITING, of the job. */
ProduceItem *produce_job_add_item(ProduceJob *job);
/* End an item; ignored when it is DONE already. @receipt: copied, NULL on failure; @failure: taken. */
void produce_item_end(ProduceItem *item, const PartitionReceipt *receipt, Failure *failure);
/* An outcome came from where the item was sent: end it, or find another way. @failure: taken */
void produce_item_outcome(ProduceItem *item, const PartitionReceipt *receipt, Failure *failure);

/* The refusal of a record without key in a compacted topic. @path: of what is missing */
Failure *produce_no_key(const MetadataTopic *topic, const char *path);

/* Make items of a job's plain records, now that the topic is known. Returns NULL, or INVALID_FIELD, UNKNOWN_PARTITION,
 * LEADER_NOT_AVAILABLE, RECORD_TOO_LARGE: then no items were made. */
Failure *produce_plan_records(ProduceJob *job, const MetadataTopic *topic);

/* ---- answers: produce_answer.c ---- */

/* Of one item, as a message that borrows from it. */
typedef struct {
  Milena__V1__ProduceResult result;
  Milena__V1__RouteHint route;
  Google__Protobuf__Timestamp append_time;
} ProduceResultProto;
/* Of a whole job; borrows from it; end with produce_results_clear. */
typedef struct {
  guint count;
  ProduceResultProto *protos;
  Milena__V1__ProduceResult **results;
} ProduceResults;
void produce_results_init(ProduceResults *results, const ProduceJob *job);
void produce_results_clear(ProduceResults *results);

/* Check what holds for requests and streams alike. Returns NULL or INVALID_FIELD.
 * @timeout: NULL for the default; @ret_acks, @ret_timeout_ms: untouched on failure */
Failure *produce_check_terms(Milena__V1__Acks acks, const Google__Protobuf__Duration *timeout,
                             Milena__V1__Acks *ret_acks, gint64 *ret_timeout_ms);
/* Check that there is something to write, and who writes it. Returns NULL or INVALID_FIELD. */
Failure *produce_check_input(const ProduceInput *input);

/* ---- links to other brokers: produce_link.c ---- */

/* Send an item, whose route names another broker. Its outcome comes by produce_item_outcome, always later; what was not
 * sent for sure comes back as PEER_UNREACHABLE or OVERLOADED. */
void produce_link_send(Producer *producer, ProduceItem *item);
void produce_link_free(gpointer link);
/* The metadata has changed: end the links to brokers that serve no more. */
void produce_links_look(Producer *producer, MetadataImage *now);

/* ---- producer ids: produce_ids.c ---- */

/* @ahead: get a block before somebody asks for an id */
ProduceIds *produce_ids_new(Front *front, gboolean ahead);
/* Tell all who wait that the broker stops. */
void produce_ids_drain(ProduceIds *ids);
/* NULL is fine. */
void produce_ids_free(ProduceIds *ids);
/* InitProducer: takes the call over. @request: borrowed */
void produce_ids_init_producer(ProduceIds *ids, RpcCall *call, const Milena__V1__InitProducerRequest *request);

/* ---- calls: produce_service.c, produce_stream.c ---- */
void produce_stream_open(RpcCall *call, gpointer producer);

G_END_DECLS
