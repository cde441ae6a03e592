/* Tests as data: a file of blocks, each a command and its whole expected output.
 *
 *   bazel run //tests/unit/...:scenario_test -- --rewrite     writes the outputs anew; review the difference */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Run one line, and return what happened as text; owned by the caller. */
typedef char *(*ScenarioFileRun)(gpointer scenario, const char *line);

/* Run the file's commands, and fail the test where another output than the file's comes; or, with --rewrite, write the
 * outputs into the file.
 *
 * @relative: path below the repository */
void scenario_file_check(const char *relative, ScenarioFileRun run, gpointer scenario);

G_END_DECLS
