/* What the files of this simulation share. */
#pragma once

#include "services/base/failure.h"
#include "services/group_coordinator/groups/groups.h"
#include "tests/sim/groups/groups_sim.h"
#include "tests/sim/kernel.h"
#include "tests/unit/groups/fake_host.h"

G_BEGIN_DECLS

#define WORLD_GROUPS 2
#define WORLD_CLIENTS 8
#define WORLD_SESSION_MS 2000
#define WORLD_INTERVAL_MS 300
#define WORLD_REBALANCE_MS 1500

typedef struct World World;
typedef struct Client Client;

typedef enum { CALL_HEARTBEAT, CALL_COMMIT, CALL_UPDATE } CallKind;

/* A request on its way, and its answer. */
typedef struct {
  World *world;
  CallKind kind;
  guint client;     /* who sent it */
  guint64 life;     /* of its process */
  guint64 number;   /* of the client's calls */
  GBytes *request;  /* packed */
  GBytes *response; /* packed; NULL: refused, or not answered yet */
  FailureReason refused;
  guint refs;
} Call;

/* A partition that somebody reads. */
typedef struct {
  char *key; /* "group topic-id partition" */
  char *topic, *topic_id;
  gint32 partition;
  gint64 position; /* what it commits next */
} Reading;

/* A process that may be a member. */
struct Client {
  World *world;
  guint index;
  guint64 life;      /* of its process: timers and answers of earlier ones are not its */
  gboolean running;  /* the process is there */
  gboolean aware;    /* it tells versions */
  gboolean stubborn; /* it does not give up what is revoked */
  gboolean leaving;
  gint64 frozen_until_us;
  char *group, *id, *instance, *topics;
  guint32 epoch, version;
  gboolean owned_changed;
  gint64 ack_at_us;       /* it gives up what it lost then, and says so */
  GHashTable *reading;    /* key → Reading */
  GHashTable *giving;     /* key → Reading: shall be given up, and is not yet */
  guint64 calls, awaited; /* number of the heartbeat whose answer it waits for; 0: none */
  gint64 awaited_until_us;
  guint64 commit_awaited;
  gint64 commit_until_us;
};

/* What is known of a partition from what was told. */
typedef struct {
  char *owner;      /* member id that it was told last */
  guint owner_life; /* changes when an owner is told anew after it was out */
  gint64 base;      /* committed offset when its owner was told; -1: none */
  gint64 committed; /* last offset whose commit was acknowledged; -1: none */
} Shadow;

struct World {
  Sim *sim;
  FILE *trace;
  GroupsSimResult *result;
  FakeHost *host; /* its log is what is durable */
  SimNetFaults faults;
  gboolean in_order; /* no call comes twice, or much later than it was sent */
  gboolean calm;     /* faults are over */

  /* The coordinator. */
  Groups *groups; /* NULL: down */
  guint64 incarnation;
  GArray *pending;   /* GroupsRecord: appended, not durable */
  guint64 durable;   /* number of the last durable record of this incarnation */
  GArray *waiting;   /* GroupsAnswer: for records to become durable */
  GHashTable *calls; /* token → Call */
  guint64 last_token;
  gboolean append_soon;
  gboolean crash_next; /* with the next turn that has several records */
  gint64 turn_at_us;

  Client clients[WORLD_CLIENTS];
  GHashTable *members;  /* "group member" of all members, as of the last turn */
  gboolean reconciling; /* some group was, as of the last turn */
  GHashTable *shadows;  /* key → Shadow */
};

/* ---- world.c ---- */

void gsim_tell(World *world, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The coordinator ends, and another starts a little later. */
void gsim_crash(World *world);
GroupsTime gsim_time(const World *world);
Call *gsim_call_ref(Call *call);
void gsim_call_unref(gpointer call);

/* ---- coordinator.c ---- */

void gsim_coordinator_start(World *world);
void gsim_coordinator_crash(World *world);
void gsim_coordinator_receive(gpointer call);
void gsim_coordinator_topics_changed(World *world, const char *name);
void gsim_coordinator_clear(World *world);

/* ---- client.c ---- */

void gsim_client_init(World *world, guint index);
void gsim_client_clear(Client *client);
void gsim_client_start(Client *client);
void gsim_client_die(Client *client);
void gsim_client_receive(gpointer call);
char *gsim_client_key(const char *group, const char *topic_id, gint32 partition);

/* ---- rules.c ---- */

/* After each turn: what GetGroup tells of each group. */
void gsim_rules_check_groups(World *world);
/* An answer is on its way out. */
void gsim_rules_check_answer(World *world, const Call *call, const GroupsAnswer *answer);
/* The coordinator was loaded from the log. */
void gsim_rules_reload(World *world);
/* Everything is calm: partitions are shared out. */
void gsim_rules_check_calm(World *world);
/* Is everybody settled? */
gboolean gsim_rules_are_settled(World *world);
/* What each running client reads, to compare; owned by the caller. */
GHashTable *gsim_rules_readers(World *world);

G_END_DECLS
