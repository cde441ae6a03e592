/* Leader epochs of a log: at which offset each began. What followers compare to find where their logs part.
 *
 * Invariant: epochs and start offsets both rise strictly from entry to entry. Pure; one owner thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define LOG_EPOCH_NONE (-1)

typedef struct {
  gint32 epoch;        /* 0 or more */
  gint64 start_offset; /* of its first batch, or where it would be */
} LogEpoch;

typedef struct LogEpochs LogEpochs;

LogEpochs *log_epochs_new(void);
LogEpochs *log_epochs_copy(const LogEpochs *epochs);
void log_epochs_free(LogEpochs *epochs); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogEpochs, log_epochs_free)

guint log_epochs_count(const LogEpochs *epochs);
LogEpoch log_epochs_get(const LogEpochs *epochs, guint index);
/* The last epoch, or LOG_EPOCH_NONE. */
gint32 log_epochs_latest(const LogEpochs *epochs);

/* Note that @epoch goes on or begins at @start_offset. An epoch that had no batches (same start) gives way to it.
 *
 * Returns TRUE when something changed. Appending the latest epoch again changes nothing.
 * The latest epoch must not be higher than @epoch, nor begin behind @start_offset: check log_epochs_accepts first for
 * what comes from a peer. */
gboolean log_epochs_append(LogEpochs *epochs, gint32 epoch, gint64 start_offset);
/* Whether log_epochs_append may be called with these. */
gboolean log_epochs_accepts(const LogEpochs *epochs, gint32 epoch, gint64 start_offset);

/* Where the largest epoch at most @epoch ends (Kafka's OffsetsForLeaderEpoch).
 *
 * @log_end_offset: end of the latest epoch
 * @ret_epoch, @ret_end_offset: that epoch and the offset behind its last record. When @epoch is older than all: @epoch
 *   itself and the start of the first.
 *
 * Returns FALSE, both untouched, when there are no entries or @epoch is newer than all. */
gboolean log_epochs_end_offset(const LogEpochs *epochs, gint32 epoch, gint64 log_end_offset, gint32 *ret_epoch,
                               gint64 *ret_end_offset);
/* Epoch of the record at @offset, or LOG_EPOCH_NONE when it lies before the first entry. */
gint32 log_epochs_at(const LogEpochs *epochs, gint64 offset);

/* The log now ends at @end_offset: epochs that begin there or later are forgotten. Returns TRUE when any was. */
gboolean log_epochs_truncate_end(LogEpochs *epochs, gint64 end_offset);
/* The log now starts at @start_offset: epochs that ended before are forgotten, the one that holds it begins there.
 * Returns TRUE when something changed. */
gboolean log_epochs_truncate_start(LogEpochs *epochs, gint64 start_offset);

/* Append the stored form to @out: format u8 (1), count u32, then for each epoch i32 and start offset i64; big endian.
 * It is part of the hot record, whose CRC covers it. */
void log_epochs_encode(const LogEpochs *epochs, GByteArray *out);
/* Read it.
 *
 * @ret_epochs: owned by the caller; untouched on failure
 * @ret_used: how many bytes it took; may be NULL
 *
 * Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format. */
Failure *log_epochs_decode(const guint8 *data, gsize len, LogEpochs **ret_epochs, gsize *ret_used);

G_END_DECLS
