#include "tests/chaos/report.h"

#include <stdio.h>

struct Report {
  GMutex mutex;
  guint passed, failed, skipped;
};

Report *report_new(void) {
  Report *report = g_new0(Report, 1);
  g_mutex_init(&report->mutex);
  return report;
}

void report_free(Report *report) {
  if (!report)
    return;
  g_mutex_clear(&report->mutex);
  g_free(report);
}

/* Whole lines, seen at once. */
static void print_line(Report *report, guint *counter, const char *line) {
  g_mutex_lock(&report->mutex);
  if (counter)
    (*counter)++;
  printf("%s\n", line);
  fflush(stdout);
  g_mutex_unlock(&report->mutex);
}

void report_say(Report *report, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  print_line(report, NULL, line);
}

void report_claim(Report *report, char *wrong, const char *claim, ...) {
  g_autofree char *why = wrong;
  va_list args;
  va_start(args, claim);
  g_autofree char *text = g_strdup_vprintf(claim, args);
  va_end(args);
  g_autofree char *line = why ? g_strdup_printf("not ok %s\n%s", text, why) : g_strdup_printf("ok %s", text);
  print_line(report, why ? &report->failed : &report->passed, line);
}

void report_skip(Report *report, const char *why, const char *claim, ...) {
  va_list args;
  va_start(args, claim);
  g_autofree char *text = g_strdup_vprintf(claim, args);
  va_end(args);
  g_autofree char *line = g_strdup_printf("skip %s: %s", text, why);
  print_line(report, &report->skipped, line);
}

guint report_failures(Report *report) {
  g_mutex_lock(&report->mutex);
  guint failed = report->failed;
  g_mutex_unlock(&report->mutex);
  return failed;
}

void report_close(Report *report) {
  report_say(report, "%u passed, %u failed, %u skipped", report->passed, report->failed, report->skipped);
}
