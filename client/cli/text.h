/* Small work on text: escapes in arguments, numbers for people, the nearest of some words. Pure. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* Bytes from an argument with the escapes \n \r \t \0 \\ \xNN.
 *
 * @text: borrowed
 * @ret_bytes: owned by the caller; untouched on failure
 *
 * Returns NULL, or INVALID_FIELD that names the escape that is wrong. */
Failure *text_unescape(const char *text, GBytes **ret_bytes);
/* The same for display: control characters become escapes, UTF-8 stays, other bytes become \xNN; owned by the caller.
 */
char *text_escape(const char *bytes, gsize length);

/* A whole number from @least to @most.
 *
 * @what: its name in the sentence: "--partitions"
 * @ret_number: untouched on failure
 *
 * Returns NULL, or INVALID_FIELD. */
Failure *text_number(const char *what, const char *text, gint64 least, gint64 most, gint64 *ret_number);
/* A number of bytes with or without a unit: "512", "64KiB", "20MB". As text_number. */
Failure *text_size(const char *what, const char *text, guint64 *ret_bytes);
/* The two sides of "key=value"; both owned by the caller, untouched on failure. Returns NULL, or INVALID_FIELD. */
Failure *text_pair(const char *what, const char *text, char **ret_key, char **ret_value);

/* "12,345,678"; owned by the caller. */
char *text_grouped(guint64 number);
/* "1 record", "2,345 records"; owned by the caller. @noun: of which an s makes the plural */
char *text_counted(guint64 number, const char *noun);
/* "1.5 MB", in powers of 1,000; owned by the caller. */
char *text_bytes(double bytes);
/* "3 s", "4 min 5 s", "2 h 3 min", "5 d 1 h"; owned by the caller. */
char *text_duration(gint64 seconds);
/* "2026-11-21T13:04:16.250Z"; owned by the caller. NULL when the time is outside of the years 1 to 9999. */
char *text_time(gint64 unix_ms);

/* The word of @words (ends with NULL) that @word was probably meant to be, or NULL; borrowed. */
const char *text_nearest(const char *word, const char *const *words);

G_END_DECLS
