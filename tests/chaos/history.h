/* What clients did to a cluster, and what they were told: the input of the checker (linear.h). Pure.
 *
 * Every write has a tag, unique in the history, that the topic carries from then on and that a read returns: so a read
 * tells which write it saw. An operation that is over before another begins must have taken effect before it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  HISTORY_CREATE, /* the topic is there, with this tag */
  HISTORY_UPDATE, /* it has this tag from now on */
  HISTORY_DELETE, /* it is gone */
  HISTORY_READ,   /* tag is what was read; 0: there is no such topic */
} HistoryKind;

typedef enum {
  HISTORY_OK,
  HISTORY_REFUSED, /* because of what the topic is: CREATE found it there, UPDATE and DELETE found it missing */
  HISTORY_FAILED,  /* not done, for sure */
  HISTORY_UNKNOWN, /* may have been done, may still be, at any time to come */
} HistoryResult;

#define HISTORY_NEVER_US G_MAXINT64
#define HISTORY_ID_BYTES 37

typedef struct {
  guint client;
  HistoryKind kind;
  HistoryResult result;
  guint topic;               /* number of its name */
  guint64 tag;               /* 0 for DELETE, and for a READ that found nothing */
  gint64 invoke_us;          /* monotonic */
  gint64 return_us;          /* HISTORY_NEVER_US when UNKNOWN */
  char id[HISTORY_ID_BYTES]; /* of the topic as it was answered, or "" */
} HistoryOp;

const char *history_kind_name(HistoryKind kind);
const char *history_result_name(HistoryResult result);

/* One line of text, such as
 *   "12.003041 12.004120 client 2 update topic 7 tag 311 ok 0195..."; owned by the caller. */
char *history_op_to_text(const HistoryOp *op);
/* The other way. Returns FALSE when the line is none. */
gboolean history_op_from_text(const char *line, HistoryOp *ret_op);

/* A whole history as a file of such lines; lines that begin with # are comments.
 *
 * @ops: of HistoryOp */
gboolean history_save(const GArray *ops, const char *path, GError **error);
/* Owned by the caller; NULL on failure. */
GArray *history_load(const char *path, GError **error);

G_END_DECLS
