/* The metadata of one controller, and what clients ask of it: the host's part above the core.
 *
 * As in services/controller: proposals are checked against the tip, which is the image with all that was proposed after
 * it; a proposal ends when its entry is applied, and is unknown when this is no leader any more. */
#pragma once

#include "controller/metadata/image.h"
#include "tests/sim/raft/node.h"

G_BEGIN_DECLS

typedef enum {
  REQUEST_SETUP, /* the next step of what a cluster needs before it is used; DONE with value 1 when there is none */
  REQUEST_WRITE, /* a register, with a value */
  REQUEST_READ,
  REQUEST_BLOCK, /* of producer ids; DONE with the first */
  REQUEST_CHURN, /* any other change; value: of its chance */
} RequestKind;

typedef struct {
  guint client, number;
  RequestKind kind;
  guint place; /* of the register */
  guint64 value;
} Request;

typedef enum { ANSWER_DONE, ANSWER_REFUSED, ANSWER_UNKNOWN } AnswerKind;

typedef struct {
  guint number;
  AnswerKind kind;
  guint64 value;
  guint64 leader; /* ANSWER_REFUSED: who may know better, or 0 */
} Answer;

/* Returns NULL, or why the disk's snapshot does not open. */
Failure *machine_new(Node *node, const Stored *stored, Machine **ret_machine);
void machine_free(Machine *machine); /* NULL is fine */

void machine_request(Machine *machine, const Request *request);

/* A change that somebody beside the clients asks for. */
typedef struct {
  GPtrArray *records; /* taken: made against machine_tip; none: it is done once all before it is */
  /* Its records are applied, refused, or nobody knows. @failure: borrowed; NULL: applied */
  void (*done)(Node *node, AnswerKind kind, const Failure *failure, gpointer data);
  gpointer data;
  GDestroyNotify free; /* of data, after done, or when the process ends before; NULL: none */
} MachineChange;
void machine_change(Machine *machine, const MachineChange *change);
MetadataImage *machine_tip(const Machine *machine); /* borrowed */
/* The term in which this is the active controller; 0: it is not. */
guint64 machine_active_term(Machine *machine);
void machine_end_read(Machine *machine, const RaftRead *read);
void machine_restore(Machine *machine, const RaftInstall *install);
void machine_apply(Machine *machine, const RaftEntry *entry);
/* After each step: proposals of a leader that was end. */
void machine_role_changed(Machine *machine);
void machine_maybe_snapshot(Machine *machine);
MetadataImage *machine_image(const Machine *machine); /* borrowed */

/* ---- commands.c ---- */

/* What a request changes, looking at @tip. Returns NULL, or why it is refused. @ret_value: of its answer */
Failure *commands_make(World *world, const MetadataImage *tip, guint64 version, const Request *request,
                       GPtrArray *records, guint64 *ret_value);
/* Of a register, in an image in which all is set up; FALSE when it is not there. */
gboolean commands_read(const MetadataImage *image, guint place, guint64 *ret_value);

/* ---- client.c ---- */

Client *client_new(World *world, guint number);
void client_free(gpointer client);
void client_start(Client *client);
/* Over the network: later, or never. */
void client_answer(World *world, const Node *from, guint client, const Answer *answer);
/* How many of its writes and reads were answered since the faults ended. */
guint client_answered(const Client *client);

G_END_DECLS
