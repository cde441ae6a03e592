/* The plan of a local cluster: which processes it has, their ports, folders and command lines. Kept in DIR/local.conf,
 * so that every later command knows it. Does no more than read and write that file. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* Ports of one kind lie side by side, and the kinds are so far apart. */
#define LOCAL_NODES_MAX 50
#define LOCAL_BASE_PORT_DEFAULT 7600

typedef enum { LOCAL_CONTROLLER, LOCAL_BROKER, LOCAL_COORDINATOR } LocalKind;

/* A process of the cluster. */
typedef struct {
  LocalKind kind;
  int id;              /* from 1 */
  char *name;          /* "broker-2" */
  const char *program; /* "milena-broker"; static */
  guint16 port;        /* for clients */
  guint16 peer_port;   /* for the cluster; 0: none */
} LocalNode;

typedef struct {
  char *folder; /* absolute */
  guint controllers, brokers, coordinators;
  guint base_port;
  gboolean bootstrapped; /* the cluster has begun: never again */
  GPtrArray *nodes;      /* LocalNode *, in the order in which they start */
} LocalPlan;

/* What the user asks for; -1 where nothing is said. */
typedef struct {
  gint controllers, brokers, coordinators, base_port;
} LocalWish;
#define LOCAL_WISH_NOTHING                                                                                             \
  { -1, -1, -1, -1 }

/* The folder when --data names none: XDG_DATA_HOME/milena/local; owned by the caller. */
char *local_plan_default_folder(void);

/* The plan of a folder as it is kept there.
 *
 * @ret_plan: NULL when the folder has none; owned by the caller; untouched on failure
 *
 * Returns NULL, or why it can't be read. */
Failure *local_plan_load(const char *folder, LocalPlan **ret_plan);
/* Keep it, atomically. The folder must exist. */
Failure *local_plan_save(const LocalPlan *plan);

/* A new plan, or a kept one with changes.
 *
 * @kept: of local_plan_load; NULL for none
 * @running: some of its processes run: then the ports must stay
 *
 * Returns NULL, or INVALID_FIELD: another number of controllers, fewer processes than hold data, bad ports. */
Failure *local_plan_make(const char *folder, const LocalPlan *kept, const LocalWish *wish, gboolean running,
                         LocalPlan **ret_plan);
void local_plan_free(LocalPlan *plan); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalPlan, local_plan_free)

/* The process of this name, or NULL. */
LocalNode *local_plan_find(const LocalPlan *plan, const char *name);
/* DIR/NAME and a suffix such as ".log"; owned by the caller. */
char *local_plan_path(const LocalPlan *plan, const LocalNode *node, const char *suffix);
/* "127.0.0.1:7600"; owned by the caller. */
char *local_node_address(const LocalNode *node);
/* The same for its other listener; only where peer_port is not 0. */
char *local_node_peer_address(const LocalNode *node);
/* The command line; the first word is @executable; owned by the caller. */
char **local_plan_command(const LocalPlan *plan, const LocalNode *node, const char *executable);

G_END_DECLS
