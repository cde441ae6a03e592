/* Cuts a stream of bytes into records at a separator, with bounded memory. Pure.
 *
 *   feed ──► next: RECORD, RECORD, ..., MORE ──► feed ... ──► end ──► next: RECORD, END
 *
 * A separator ends a record: "a\nb\n" and "a\nb" are two records each, "a\n\nb" is three, the middle one empty. A
 * record that grows over the bound is reported once as TOO_LARGE, as soon as it is, and its rest is dropped. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Splitter Splitter;
typedef enum {
  SPLITTER_RECORD,    /* a record */
  SPLITTER_TOO_LARGE, /* a record over the bound; its bytes are dropped */
  SPLITTER_MORE,      /* feed more, or end */
  SPLITTER_END,       /* no more records */
} SplitterResult;

/* @separator: 1 byte or more; referenced
 * @record_max_bytes: bound of a record, without its separator */
Splitter *splitter_new(GBytes *separator, gsize record_max_bytes);
void splitter_free(Splitter *splitter); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Splitter, splitter_free)

/* Add bytes; they are copied. Not after splitter_end. */
void splitter_feed(Splitter *splitter, const void *data, gsize length);
/* No more bytes will come: what is left is the last record. */
void splitter_end(Splitter *splitter);
/* Cut the next record.
 *
 * @ret_record, @ret_length: set with SPLITTER_RECORD; borrowed, valid until the next call of splitter_feed */
SplitterResult splitter_next(Splitter *splitter, const guint8 **ret_record, gsize *ret_length);
/* Number of the record that splitter_next returned last, from 1. */
guint64 splitter_number(const Splitter *splitter);

G_END_DECLS
