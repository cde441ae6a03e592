/* The controller's host: one loop that owns the Raft core and the metadata, one thread that writes to the disk, and the
 * links to the other controllers.
 *
 *   command ──records──► host_propose ──► Raft log ──written, synced, on a majority──► committed ──► applied ──► done
 *
 * Proposals are checked against the *tip*: the committed image with everything that was proposed after it. So commands
 * follow each other without waiting for the disk, and one sync carries all that came meanwhile (group commit).
 *
 * A controller without a cluster waits: it has an empty log, votes for nobody by itself, and takes part as soon as a
 * controller of a cluster speaks to its folder (it was bootstrapped with it, or added), or host_begin makes it the
 * first of a new one.
 *
 * Everything here runs on the host's loop but host_new, host_start, host_stop and host_free, which belong to the thread
 * that made it. */
#pragma once

#include "controller/metadata/commands.h"
#include "controller/metadata/image.h"
#include "controller/raft/raft.h"
#include "services/base/loop.h"
#include "services/controller/transport.h"
#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

typedef struct Host Host;

typedef struct {
  gint32 id;
  const char *address;       /* advertised to clients; copied */
  const char *peer_address;  /* advertised to brokers and controllers; copied */
  const char *controllers;   /* see TransportOptions; copied; may be NULL */
  guint snapshot_entries;    /* a snapshot after so many entries */
  guint64 snapshot_bytes;    /* or so many bytes of them; 0: 64 MiB */
  guint election_timeout_ms; /* without a word of the active one, before another is elected; up to twice as long, at
                                random; 0: 300 */
} HostOptions;

/* What happens; all on the loop. `serving` may be NULL. */
typedef struct {
  /* This controller became the active one, or ceased to be. */
  void (*active)(gboolean active, gpointer data);
  /* A transaction was applied; @image is the new one, at its version. Records are borrowed; NULL: the whole metadata
   * was replaced by an image of the active controller's, since this one lacked too much. */
  void (*applied)(MetadataImage *image, const GPtrArray *records, gpointer data);
  /* This controller takes part, and there is an active one: or not any more. */
  void (*serving)(gboolean serving, gpointer data);
  gpointer data;
} HostListener;

/* Load the log. Returns NULL, or why it can't be used.
 *
 * @store: taken on success
 * @loop, @client: outlive the host */
Failure *host_new(Loop *loop, RpcClient *client, RaftLogStore *store, const HostOptions *options, Host **ret_host);
/* On the loop, before host_start or later. */
void host_listen(Host *host, const HostListener *listener);
/* Begin to tick, to elect and to answer. */
void host_start(Host *host);
/* Hand over to another controller if this is the active one, and wait for it for at most @wait_ms. Blocks, as
 * host_stop. */
void host_hand_over(Host *host, guint wait_ms);
/* Finish what is being written; nothing is proposed any more. Blocks. Not on the loop, which must still run. */
void host_stop(Host *host);
void host_free(Host *host); /* after host_stop, once the loop has stopped; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)

Loop *host_loop(const Host *host);
RpcClient *host_client(const Host *host);
gint32 host_id(const Host *host);
const RaftDirectory *host_directory(const Host *host);
/* "" while it waits for its cluster; borrowed. */
const char *host_cluster_id(const Host *host);
/* Its log is empty: it never took part in anything. */
gboolean host_is_empty(const Host *host);
const char *host_address(const Host *host);
const char *host_peer_address(const Host *host);

/* ---- The metadata ---- */

/* What is committed; borrowed, changes with each `applied`. */
MetadataImage *host_image(const Host *host);
/* That, and what was proposed since; borrowed. What commands look at. */
MetadataImage *host_tip(const Host *host);
/* Id of the active controller as far as this one knows, or -1. */
gint32 host_active_id(const Host *host);
gboolean host_is_active(const Host *host);
/* As the listeners were told. */
gboolean host_is_serving(const Host *host);
/* NULL when this is the active controller; else NOT_CONTROLLER with its id and address, NOT_BOOTSTRAPPED, or
 * CONTROLLER_NOT_AVAILABLE. */
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

/* Make sure that this is still the active controller, then answer a read: @image holds all that was committed when this
 * was called. @failure as host_check_active. */
void host_read(Host *host, HostDone done, gpointer data);

/* ---- The quorum ---- */

RaftState host_state(const Host *host);
/* In force; borrowed until the loop's next event. */
const RaftConfiguration *host_configuration(const Host *host);
Transport *host_transport(const Host *host);
guint host_election_timeout_ms(const Host *host);
/* Change the membership: done when it is committed. */
void host_change(Host *host, const RaftChange *change, HostDone done, gpointer data);
/* Begin to hand over to @target. Whether it came to be shows in host_state. */
Failure *host_transfer(Host *host, guint64 target);
/* The voter that has most of the log and answers, besides this one; 0: there is none. */
guint64 host_best_successor(const Host *host);
/* Begin a new cluster in this controller's empty log. What follows is Raft's: a majority of the voters must hold it.
 *
 * @configuration: this one is a voter of it
 * @controllers: of MetadataController *: the same with their addresses
 * @cluster_id: a UUID
 *
 * On the loop, or before host_start. Returns NULL; ALREADY_BOOTSTRAPPED; or what is wrong with the configuration. */
Failure *host_begin(Host *host, const RaftConfiguration *configuration, const GPtrArray *controllers,
                    const char *cluster_id);

G_END_DECLS
