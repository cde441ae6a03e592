/* What the driver tells its parent through a pipe: one record of fixed size for each event, so that writes are atomic.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define CRASH_LOGS 9
/* This log is cut from time to time. */
#define CRASH_CUT_LOG CRASH_LOGS
/* Records in a batch, at most. */
#define CRASH_RECORDS_MAX 5

typedef enum {
  CRASH_ACKED,   /* a batch was acknowledged */
  CRASH_CUTTING, /* the log may from now on end at offset */
  CRASH_CUT,     /* it ends at offset */
  CRASH_GROUPS,  /* of this run so far: offset groups went into the write-ahead log whole, unique groups in bulk */
} CrashEventKind;

typedef struct {
  guint32 kind; /* CrashEventKind */
  guint32 record_count;
  guint64 log_id;
  gint64 offset;
  guint64 unique; /* the batch's name: the first 8 bytes of its payload */
  guint32 crc;    /* of the batch, by its producer */
  guint32 zero;
} CrashEvent;

G_END_DECLS
