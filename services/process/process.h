/* What the three programs do alike around their service: signals, the ready file, listen addresses. */
#pragma once

#include "services/base/failure.h"
#include "services/base/loop.h"
#include "services/base/settings.h"
#include "services/base/slog.h"

G_BEGIN_DECLS

/* Settings that every program has; their SettingSpec rows come from PROCESS_SETTINGS. */
typedef struct {
  char *log_format; /* "text" or "json" */
  char *log_level;  /* "debug", "info", "warning", "error" */
  char *ready_file; /* "" for none */
} ProcessSettings;

#define PROCESS_SETTINGS(settings)                                                                                     \
  {"log-format", SETTING_STRING, &(settings)->log_format, "text", 0, 0, "text, or json for one object a line"},        \
      {"log-level", SETTING_STRING, &(settings)->log_level, "info", 0, 0, "debug, info, warning or error"}, {          \
    "ready-file", SETTING_STRING, &(settings)->ready_file, "", 0, 0, "written once the process serves"                 \
  }

/* Start logging. @name: "broker-1". Returns FALSE after a sentence on standard error when a setting is wrong. */
gboolean process_start_logs(const ProcessSettings *settings, const char *name);
/* Say that the process serves: a log line, and the ready file with one "name address" line for each pair of @addresses
 * (name, address, ..., NULL). */
void process_say_ready(const ProcessSettings *settings, const char *const *addresses);
/* Call @stop on @loop at the first SIGTERM or SIGINT; a second one ends the process at once. SIGPIPE is ignored. Before
 * any thread is started. */
void process_on_stop(Loop *loop, void (*stop)(gpointer data), gpointer data);
/* What others reach this process by: @advertised, or when that is "" the host of @listen with the port that was bound.
 * Owned by the caller. */
char *process_advertise(const char *advertised, const char *listen, guint16 bound_port);
/* Each connection takes a descriptor, and shells start processes with 1,024: take as many as the hard limit allows.
 * Once, in main. */
void process_raise_descriptors(void);
/* Lower mmap churn: keep freed memory for the next batch. Once, in main. */
void process_tune_malloc(void);

/* Give back to the system, every 10 s, what malloc keeps in the middle of its heaps: a broker that was under load held
 * as much again as it used. @loop: its thread does it; must outlive the process's work */
void process_trim_malloc(Loop *loop);

G_END_DECLS
