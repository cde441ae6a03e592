/* The host's parts, for host.c, host_open.c, host_apply.c, host_disk.c, host_snapshot.c and host_quorum.c alone. */
#pragma once

#include "services/controller/host.h"

G_BEGIN_DECLS

/* A proposal, or a change of the membership, that waits to be committed. */
typedef struct {
  guint64 index, term;
  GPtrArray *records;    /* NULL for one that only waits for its entry */
  MetadataImage *result; /* the metadata right after it */
  HostDone done;
  gpointer data;
} Pending;

struct Host {
  Loop *loop;
  Loop *disk;   /* thread of log and snapshots: the store is its own while jobs are under way */
  Loop *imager; /* thread that encodes images, so that log writes go on meanwhile */
  RpcClient *client;
  HostOptions options;
  char *address, *peer_address;
  char *cluster_id; /* "" while it waits */
  RaftDirectory directory;
  RaftLogStore *store;
  RaftCore *core;
  Transport *transport;
  GArray *listeners;
  gboolean started, stopped;

  /* host_apply.c */
  MetadataImage *image, *tip;
  GQueue pending;      /* of Pending */
  GHashTable *reads;   /* context → Read */
  guint64 next_read;   /* context of the next one */
  gboolean active;     /* as the listeners were told */
  guint64 active_term; /* in which it became active */
  gboolean serving;    /* as the listeners were told */

  /* host.c */
  LoopTask pump_task;
  gboolean pump_posted, pumping;
  GSource *ticker, *hurrier;
  guint64 hurry_for;      /* the active controller whose stream broke; 0: none */
  guint hurry_ticks;      /* how many more ticks to hurry */
  gint64 leader_heard_us; /* when the leader was heard last */
  guint64 known_leader;   /* as was logged */
  guint64 members_index;  /* of the membership that the transport knows */
  gboolean members_known; /* the transport was told at all */

  /* host_disk.c */
  GPtrArray *writes;     /* of RaftReady: to be written, in order */
  gboolean writing;      /* a log write is under way */
  guint64 durable_write; /* the last one that is */
  GPtrArray *held;       /* of RaftMessage: wait for their writes */

  /* host_snapshot.c */
  GBytes *snapshot;         /* bytes of the one in force; NULL: none */
  guint64 snapshot_index;   /* its index */
  guint64 installed_index;  /* of the last one that a leader sent and that was given to the disk */
  MetadataImage *candidate; /* the next one's image, waiting until enough entries follow it; NULL: none */
  RaftSnapshotMeta candidate_meta;
  guint64 log_bytes;     /* of the entries applied since the candidate or snapshot */
  gboolean snapshotting; /* one is being made */
};

/* host.c */
/* Take the core's work soon, with all that happens until then. */
void host_pump_soon(Host *host);
/* The log can't be used: the process ends. */
G_NORETURN void host_end_corrupt(const Failure *failure);

/* What happens on the transport. */
TransportEvents host_transport_events(Host *host);
/* Of the core, in milliseconds. */
guint host_tick_ms(const Host *host);

/* host_open.c */
/* Make the core of what lies on the disk, in the place of the one before. */
Failure *host_load_core(Host *host, const RaftStart *start);
/* This controller belongs to the cluster: the transport may speak. */
void host_know_cluster(Host *host, const char *cluster_id);

/* host_apply.c */
Failure *host_apply(Host *host, const GPtrArray *entries);
Failure *host_restore(Host *host, const RaftInstall *install);
void host_answer_reads(Host *host, const GArray *reads);
/* This controller stops: none of those that wait is answered any more. */
void host_drop_reads(Host *host);
/* Tell the listeners what changed. */
void host_tell(Host *host);
void host_set_image(MetadataImage **place, MetadataImage *image);
/* Wait for the entry at @index. @records: taken; may be NULL */
void host_push_pending(Host *host, guint64 index, GPtrArray *records, MetadataImage *result, HostDone done,
                       gpointer data);
/* End what still waits, with UNKNOWN_OUTCOME. */
void host_drop_pending(Host *host);

/* host_disk.c */
GPtrArray *host_messages_new(void); /* of RaftMessage */
/* @ready: its write is taken, if it has one */
void host_take_write(Host *host, RaftReady *ready);
/* @message: taken; sent once its write is durable */
void host_take_message(Host *host, RaftMessage *message);
void host_write_next(Host *host);
/* Run on the disk's thread, and wait: for the few things that happen once in a folder's life. */
void host_on_disk(Host *host, void (*func)(gpointer data), gpointer data);

/* host_snapshot.c */
void host_maybe_snapshot(Host *host);
/* Bytes of the snapshot for a message that carries a piece of it. Returns FALSE when it is not there any more. */
gboolean host_fill_chunk(Host *host, RaftMessage *message);
/* @bytes: taken */
void host_set_snapshot(Host *host, guint64 index, GBytes *bytes);
void host_drop_candidate(Host *host);

G_END_DECLS
