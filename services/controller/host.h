/* The controller's host: one loop that owns the Raft core and the metadata, and one thread that writes to the disk.
 *
 *   command ──records──► host_propose ──► Raft log ──written, synced──► committed ──► applied ──► done, listeners
 *
 * Proposals are checked against the *tip*: the committed image with everything that was proposed after it. So commands
 * follow each other without waiting for the disk, and one sync carries all that came meanwhile (group commit).
 *
 * Everything here runs on the host's loop but host_new, host_start, host_stop and host_free, which belong to the thread
 * that made it. */
#pragma once

#include "controller/metadata/commands.h"
#include "controller/metadata/image.h"
#include "controller/raft/raft.h"
#include "services/base/loop.h"
#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

typedef struct Host Host;

typedef struct {
  gint32 id;
  const char *address;      /* advertised to clients; copied */
  const char *peer_address; /* advertised to brokers; copied */
  guint snapshot_entries;   /* a snapshot after so many entries */
} HostOptions;

/* What happens; all on the loop. */
typedef struct {
  /* This controller became the active one, or ceased to be. */
  void (*active)(gboolean active, gpointer data);
  /* A transaction was applied; @image is the new one, at its version. Records are borrowed. */
  void (*applied)(MetadataImage *image, const GPtrArray *records, gpointer data);
  gpointer data;
} HostListener;

/* Make a cluster's first log in an empty store: its configuration has this one voter. Blocks. */
Failure *host_bootstrap(RaftLogStore *store, const HostOptions *options, const char *cluster_id);

/* Load the log. Returns NULL, or why it can't be used.
 *
 * @store: taken on success
 * @loop: outlives the host */
Failure *host_new(Loop *loop, RaftLogStore *store, const HostOptions *options, Host **ret_host);
/* On the loop, before host_start or later. */
void host_listen(Host *host, const HostListener *listener);
/* Begin to tick, to elect and to answer. */
void host_start(Host *host);
/* Finish what is being written; nothing is proposed any more. Blocks. Not on the loop, which must still run. */
void host_stop(Host *host);
void host_free(Host *host); /* after host_stop, once the loop has stopped; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)

Loop *host_loop(const Host *host);
gint32 host_id(const Host *host);
/* What is committed; borrowed, changes with each `applied`. */
MetadataImage *host_image(const Host *host);
/* That, and what was proposed since; borrowed. What commands look at. */
MetadataImage *host_tip(const Host *host);
/* Id of the active controller as far as this one knows, or -1. */
gint32 host_active_id(const Host *host);
gboolean host_is_active(const Host *host);
/* NULL when this is the active controller; else NOT_CONTROLLER with its id and address, or CONTROLLER_NOT_AVAILABLE. */
Failure *host_check_active(const Host *host);
/* What commands may not find out by themselves, for one command. */
MetadataContext host_context(const Host *host);

/* How a proposal ended. @failure: NULL when it is committed and applied, then @image is the metadata right after it;
 * else UNKNOWN_OUTCOME, or why nothing was changed. Both borrowed. */
typedef void (*HostDone)(const Failure *failure, MetadataImage *image, gpointer data);
/* Propose the records of one command.
 *
 * @records: taken. None: done once everything proposed so far is committed, so that a retry waits for its first try
 * @done: called once, on the loop, maybe before this returns */
void host_propose(Host *host, GPtrArray *records, HostDone done, gpointer data);

G_END_DECLS
