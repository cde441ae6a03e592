/* Drivers that are killed: started with a folder under the preload, or without, their events on a pipe. */
#pragma once

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* What the folder belongs to; made below the test's own folder. */
typedef struct {
  char *folder, *journal, *errors; /* the driver's data, the preload's notes, the driver's standard error */
} CrashPlace;

void crash_place_init(CrashPlace *place);
void crash_place_clear(CrashPlace *place);

typedef struct {
  const char *driver;          /* its path below the repository */
  const char *run, *mode;      /* its arguments, behind the folder */
  gboolean loses;              /* under the preload */
  gboolean lies;               /* the disk says that it synced, and did not */
  const char *fail_sync_after; /* or NULL */
} CrashRun;

/* Returns its pid; *@ret_fd: its standard output. */
pid_t crash_start(const CrashPlace *place, const CrashRun *run, int *ret_fd);
/* What it said on standard error; owned by the caller. */
char *crash_errors(const CrashPlace *place);

G_END_DECLS
