#include "client/cli/when.h"

#include "tests/shim/shim.h"

#define NOW G_GINT64_CONSTANT(1795266256250) /* 2026-11-21T13:04:16.250Z */
#define HOUR G_GINT64_CONSTANT(3600000)

static const struct {
  const char *name, *text;
  WhenKind kind;
  gint64 number;
} ROWS[] = {
    {"beginning", "beginning", WHEN_BEGINNING, 0},
    {"earliest", "earliest", WHEN_BEGINNING, 0},
    {"end", "end", WHEN_END, 0},
    {"latest", "latest", WHEN_END, 0},
    {"offset", "1200", WHEN_OFFSET, 1200},
    {"largest_offset", "9223372036854775807", WHEN_OFFSET, G_MAXINT64},
    {"an_hour_ago", "-1h", WHEN_TIME, NOW - HOUR},
    {"some_units", "-1h30m5s7ms", WHEN_TIME, NOW - HOUR - 30 * 60000 - 5007},
    {"minutes_by_name", "-5min", WHEN_TIME, NOW - 5 * 60000},
    {"a_week_ago", "-1w", WHEN_TIME, NOW - 7 * 24 * HOUR},
    {"rfc3339", "2026-11-21T13:04:16.250Z", WHEN_TIME, NOW},
    {"rfc3339_with_zone", "2026-11-21T15:04:16+02:00", WHEN_TIME, NOW - 250},
    {"without_zone", "2026-11-21T14:04:16", WHEN_TIME, NOW - 250},
    {"with_a_blank", "2026-11-21 14:04:16", WHEN_TIME, NOW - 250},
    {"date_alone", "2026-11-21", WHEN_TIME, NOW - 250 - (14 * HOUR + 4 * 60000 + 16000)},
};

TEST_ROWS(when, ROWS) {
  g_autoptr(GTimeZone) zone = g_time_zone_new_identifier("+01:00");
  When got = {0};
  ASSERT_NULL(when_parse("--from", ROWS[row].text, NOW, zone, &got));
  EXPECT_EQ_INT(ROWS[row].kind, got.kind);
  EXPECT_EQ_INT(ROWS[row].number, got.kind == WHEN_TIME ? got.unix_ms : got.offset);
}

static const struct {
  const char *name, *text;
} REFUSED[] = {
    {"empty", ""},
    {"word", "yesterday"},
    {"number_without_unit", "-5"},
    {"unknown_unit", "-5y"},
    {"unit_alone", "-h"},
    {"offset_too_large", "9223372036854775808"},
    {"no_such_day", "2026-02-30"},
    {"span_too_large", "-99999999999999999w"},
    {"sum_too_large", "-300000d300000d"},
};

TEST_ROWS(when_refuses, REFUSED) {
  g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
  When got = {.kind = WHEN_OFFSET, .offset = 5};
  g_autoptr(Failure) failure = when_parse("--from", REFUSED[row].text, NOW, zone, &got);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), "--from is");
  EXPECT_EQ_INT(5, got.offset);
}
