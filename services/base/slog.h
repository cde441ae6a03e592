/* Structured logs: a sentence and fields, as text or as one line of JSON, on standard error.
 *
 *   slog_info("topic created", "topic", name, "partitions", SLOG_INT(count), NULL);
 *
 * Built on g_log_structured_array, so libraries that log through glib come out the same way. Any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum { SLOG_TEXT, SLOG_JSON } SlogFormat;
typedef enum { SLOG_DEBUG, SLOG_INFO, SLOG_WARNING, SLOG_ERROR } SlogLevel;

/* Once, at the start of main. @process: "broker-1" and the like, in every line; copied. */
void slog_init(const char *process, SlogFormat format, SlogLevel least);
/* @sentence: what happened; then pairs of key and value strings, and a NULL. */
void slog(SlogLevel level, const char *sentence, ...) G_GNUC_NULL_TERMINATED;
#define slog_debug(...) slog(SLOG_DEBUG, __VA_ARGS__)
#define slog_info(...) slog(SLOG_INFO, __VA_ARGS__)
#define slog_warning(...) slog(SLOG_WARNING, __VA_ARGS__)
#define slog_error(...) slog(SLOG_ERROR, __VA_ARGS__)

/* Numbers as values: text that lives until the end of the full expression's block. */
#define SLOG_INT(n) (slog_number((gint64)(n), (char[24]){0}))
const char *slog_number(gint64 n, char *buffer);

G_END_DECLS
