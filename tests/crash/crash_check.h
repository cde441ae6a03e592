/* What was acknowledged, and whether it is there after a crash: with its offset and content, nothing twice, no gap. */
#pragma once

#include <glib.h>

#include "tests/crash/crash_protocol.h"

G_BEGIN_DECLS

typedef struct CrashCheck CrashCheck;

CrashCheck *crash_check_new(void);
void crash_check_free(CrashCheck *check);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CrashCheck, crash_check_free)

/* The driver told this. */
void crash_check_event(CrashCheck *check, const CrashEvent *event);

typedef struct {
  guint64 acked;         /* batches acknowledged since the last verification */
  guint64 found;         /* batches that are in the store's logs now */
  guint64 missing;       /* acknowledged, and not there with their offset and content */
  guint64 faults;        /* gaps, batches that came twice, damage */
  guint64 logged_groups; /* of the run before: those that went into the write-ahead log */
  guint64 bulk_groups;   /* .. and those that went in bulk */
  guint64 surplus_cuts;  /* logs that the store cut at open: a bulk group of theirs was not known to be durable */
  gboolean was_clean;
  char first[256]; /* the first thing wrong, in words */
} CrashReport;

/* Open the store as after a crash, look at what came since the last time (at everything, when @all), close it. */
void crash_check_verify(CrashCheck *check, const char *folder, gboolean all, CrashReport *ret_report);

G_END_DECLS
