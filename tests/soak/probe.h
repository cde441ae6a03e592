/* What a process holds, and what a folder takes: from /proc and the file system. Any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  double memory_mib; /* anonymous memory that is resident: pages of files are the kernel's to take back */
  double descriptors;
  double threads;
} ProcessFigures;

/* FALSE: there is no such process (any more), or it is not ours to look at. */
gboolean probe_process(GPid pid, ProcessFigures *ret_figures);
/* MiB on the disk of all files below @path; those that vanish meanwhile do not count. */
double probe_folder_mib(const char *path);

G_END_DECLS
