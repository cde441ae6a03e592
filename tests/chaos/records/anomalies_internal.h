/* What the files of the checker share. */
#pragma once

#include "tests/chaos/records/anomalies.h"

G_BEGIN_DECLS

typedef struct {
  gint32 partition;
  gint64 offset;
  guint64 value;
  gboolean was_read;
} Place;

/* A partition, as all tell of it. */
typedef struct {
  GHashTable *places;  /* offset + 1 to Place, owned */
  GArray *read;        /* of gint64: offsets that were read, in order once they are sorted */
  gint64 highest_read; /* -1: none */
} Column;

/* What is known of a value beside its send. */
typedef struct {
  gint32 partition;
  gint64 offset; /* the lowest */
  gboolean was_read;
  gboolean is_twice;
} Known;

typedef struct {
  const Ledger *ledger;
  GString *explain;
  AnomalyReport report;
  GHashTable *columns; /* partition to Column */
  GHashTable *sends;   /* value to its send, borrowed */
  GHashTable *known;   /* value to Known */
} Check;

void anomalies_found(Check *check, AnomalyKind kind, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Of an offset, as a key of hash tables; not NULL. */
gpointer anomalies_key_of_offset(gint64 offset);
/* Made when there is none yet; borrowed. */
Column *anomalies_column(Check *check, gint32 partition);
/* Index of the first offset that was read and is at or above this one. Once the reads are sorted. */
guint anomalies_index_of_offset(const Column *column, gint64 offset);
/* The rows of consumer groups: group_anomalies.c. */
void anomalies_check_groups(Check *check);

G_END_DECLS
