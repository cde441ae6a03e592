/* What the parts of the simulation of controllers share. Single-threaded; a world is one run.
 *
 *   chaos, operator, clients ──► node: core + machine (metadata) + store (disk) ──► net ──► node ...
 *                                       └── rules: after each step of each node */
#pragma once

#include "controller/metadata/image.h"
#include "controller/raft/raft.h"
#include "tests/sim/kernel.h"
#include "tests/sim/raft/history.h"
#include "tests/sim/raft/raft_sim.h"

G_BEGIN_DECLS

/* Ids 1 to NODES_MAX; not all of them are members. */
#define NODES_MAX 8
/* Behind them those that talk to them and are no controllers: the brokers of tests/sim/cluster. */
#define ENDPOINTS_MAX 16
#define REGISTERS 2

typedef struct World World;
typedef struct Node Node;
typedef struct Machine Machine;
typedef struct Store Store;
typedef struct Rules Rules;
typedef struct Client Client;

/* What a run is like, drawn at its start. */
typedef struct {
  guint voters; /* at first */
  guint clients;
  gint64 faults_us;      /* how long */
  gint64 tick_us;        /* of a clock that is right */
  guint clock_per_mille; /* how much a clock may be wrong */
  guint election_ticks, heartbeat_ticks;
  gint64 write_max_us, sync_max_us;
  guint writes_max; /* under way in one node's disk */
  gsize append_bytes_max;
  guint inflight_max;
  gsize inflight_bytes_max;
  guint uncommitted_max, reads_max;
  guint chunk_bytes_max, chunks_max;
  guint snapshot_entries; /* a snapshot after so many */
  guint crash_at_write_per_mille;
  guint corrupt_per_mille;      /* chunks whose bytes are damaged */
  gint64 chaos_us, operator_us; /* time between two acts, at most; 0: none */
} Shape;

struct World {
  Sim *sim;
  FILE *trace; /* NULL: none */
  RaftSimResult *result;
  Shape shape;
  SimNetFaults faults;
  gboolean healing; /* the faults have ended */
  gint64 quiet_us;  /* from then on nothing is on its way any more that they delayed */
  guint64 dead;     /* who never comes back, though the faults have ended; 0: nobody */
  gboolean steady;  /* and all has settled: nothing changes any more */
  gboolean terse;   /* messages are not traced */
  gboolean manual;  /* a test says what happens: no ticks by themselves */
  Node *nodes[NODES_MAX + 1];
  GPtrArray *held;                                                   /* of RaftMessage: what a test holds back */
  gboolean (*holds)(const World *world, const RaftMessage *message); /* NULL: nothing */
  GPtrArray *scrap; /* of Store: disks that were replaced; what they had under way still ends */
  guint endpoints;  /* that the network has: NODES_MAX, or more */
  gboolean cut[ENDPOINTS_MAX + 1][ENDPOINTS_MAX + 1]; /* from, to: nothing gets through */
  /* Metadata that nobody has applied before are applied; NULL: nobody listens. Both borrowed. */
  void (*applied)(MetadataImage *before, MetadataImage *image, gpointer data);
  gpointer applied_data;
  guint64 applied_version;
  Rules *rules;
  GPtrArray *clients; /* of Client */
  History *registers[REGISTERS];
  guint64 place;      /* in the order of calls and answers */
  guint64 next_value; /* of a register */
  guint64 next_folder;
};

/* ---- world.c ---- */

/* @shape: copied */
World *world_new(guint64 seed, const Shape *shape, FILE *trace, RaftSimResult *result);
void world_free(World *world);
/* All controllers begin. */
void world_start(World *world);
/* The faults end, and the operator mends. */
void world_heal(World *world);
/* The controllers have not settled: says why. */
void world_describe_unsettled(World *world);
/* One of the world's events, for the trace and the fingerprint. @node: 0: nobody's */
void world_tell(World *world, guint64 node, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Mix a number into the fingerprint; told events are only in it where they carry one. */
void world_note(World *world, guint64 number);
void world_trace_message(World *world, const RaftMessage *message);
/* The active controller of the highest term, or NULL. */
Node *world_active(const World *world);
gboolean world_has_settled(const World *world);

/* ---- chaos.c: what goes wrong ---- */

/* A node has given its disk a write: some die before it ends. */
void chaos_write_begins(Node *node);
void chaos_start(World *world);
/* Everything works from now on. */
void chaos_end(World *world);

/* ---- operator.c: membership and leadership, by chance; after the faults, repair ---- */

void operator_start(World *world);
/* May this node's disk be lost? Every configuration that is or may come in force keeps a majority of whole disks. */
gboolean operator_may_lose(const World *world, const Node *node);

G_END_DECLS
