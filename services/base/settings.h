/* Settings of a service: flags, then MILENA_* environment, then a key file; unknown or ill-typed ones are refused by
 * name.
 *
 * A service declares a table of SettingSpec that point into its own struct; `--name value`, `MILENA_NAME=value` and
 * `name=value` in group [SERVICE] of the file given by --config fill it, in this order of precedence. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum { SETTING_STRING, SETTING_INT, SETTING_BOOL, SETTING_BYTES, SETTING_DURATION_MS } SettingKind;

typedef struct {
  const char *name; /* "data-dir": --data-dir, MILENA_DATA_DIR, data-dir= */
  SettingKind kind;
  void *target; /* char ** (owned), gint64 *, gboolean * */
  const char *default_text;
  gint64 least, most; /* of numbers; 0, 0 for no bound */
  const char *help;   /* one line */
} SettingSpec;

/* Fill all targets.
 *
 * @program: "milena-broker": for help and messages
 * @group: "broker": group of the key file; also makes MILENA_BROKER_DATA_DIR win over MILENA_DATA_DIR
 * @specs: ends with a NULL name
 *
 * Returns TRUE when the service may start. FALSE with *@ret_exit set when it must exit: 0 after --help or --version, 2
 * after a sentence on standard error about a bad setting. */
gboolean settings_load(const char *program, const char *group, const SettingSpec *specs, int argc, char **argv,
                       int *ret_exit);
/* A size as SETTING_BYTES takes it: "65536", "64KiB". Returns FALSE, with @ret_bytes untouched, for anything else. */
gboolean settings_parse_bytes(const char *text, gint64 *ret_bytes);
/* Free the strings and zero the targets. */
void settings_clear(const SettingSpec *specs);

G_END_DECLS
