/* A log store for tests: a loop, and calls that submit and wait. */
#pragma once

#include <glib.h>

#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

typedef struct {
  LogStoreOptions options; /* of the next store_open */
  LogStore *store;
  Loop *loop;
} Fixture;

/* Small segments and buffers, so that a test sees them roll. @path: borrowed for the fixture's life. */
void fixture_init(Fixture *fixture, const char *path);
/* Open the store; a failure fails the test. */
gboolean fixture_open(Fixture *fixture);
void fixture_close(Fixture *fixture);
void fixture_clear(Fixture *fixture);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

/* A log as its owner keeps it. */
typedef struct {
  guint64 id;
  LogHot hot;
} TestLog;

void test_log_init(TestLog *log, guint64 id);
void test_log_clear(TestLog *log);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TestLog, test_log_clear)

/* Carry a write out and wait for its last stage. Returns the stages that were reported, in order, as digits. */
int fixture_write(Fixture *fixture, LogWrite *write);
void fixture_create(Fixture *fixture, TestLog *log);
/* A sealed, stamped batch of @count records whose payload is @len bytes that depend on the offset. */
void make_batch(TestLog *log, guint32 count, gsize len, gint64 timestamp_ms, LogBatch *ret_batch);
/* Append one and wait until it is synced. */
void fixture_append(Fixture *fixture, TestLog *log, guint32 count, gsize len, gint64 timestamp_ms);
/* Write the hot record with another log start, and wait until it is synced. */
void fixture_put_start(Fixture *fixture, TestLog *log, gint64 start);
void fixture_drop(Fixture *fixture, const TestLog *log);
/* Returns the new end. */
gint64 fixture_truncate(Fixture *fixture, TestLog *log, gint64 offset);
/* The caller clears @ret_read. */
void fixture_read(Fixture *fixture, const TestLog *log, gint64 from, gint64 end, gsize max_bytes, LogRead *ret_read);
/* Offset of the batch that was found, or -1. */
gint64 fixture_find(Fixture *fixture, const TestLog *log, gint64 timestamp_ms);

/* "0+3 3+3 6+1": base offsets and counts of what was read; borrowed until the next call. */
const char *describe(const LogRead *read);
/* Read everything from @from by reads of @max_bytes; checks order and payloads. Returns the end that was reached. */
gint64 fixture_scan(Fixture *fixture, const TestLog *log, gint64 from, gsize max_bytes);

G_END_DECLS
