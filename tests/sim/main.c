/* sim: runs simulations by their seeds, and says how each that fails is run again.
 *
 *   sim [--seeds N] [--seed S]      N runs (1,000), from seed S (1) on */
#include <stdio.h>

#include "tests/sim/idempotence.h"

int main(int argc, char **argv) {
  gint64 seeds = 1000, first = 1;
  GOptionEntry entries[] = {{"seeds", 0, 0, G_OPTION_ARG_INT64, &seeds, "How many runs", "N"},
                            {"seed", 0, 0, G_OPTION_ARG_INT64, &first, "Seed of the first run", "S"},
                            {NULL, 0, 0, 0, NULL, NULL, NULL}};
  g_autoptr(GOptionContext) context = g_option_context_new("- simulate idempotent producers");
  g_option_context_add_main_entries(context, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || seeds < 1 || first < 0) {
    fprintf(stderr, "sim: %s\n", error ? error->message : "give --seeds of 1 or more, and --seed of 0 or more");
    return 2;
  }
  guint64 records = 0, duplicates = 0, crashes = 0, give_ups = 0;
  guint failed = 0;
  gint64 start_us = g_get_monotonic_time();
  for (gint64 seed = first; seed < first + seeds; seed++) {
    IdempotenceResult result;
    idempotence_simulate((guint64)seed, IDEMPOTENCE_BUG_NONE, &result);
    records += result.records;
    duplicates += result.duplicates;
    crashes += result.crashes;
    give_ups += result.give_ups;
    if (!result.violation)
      continue;
    failed++;
    printf("seed %" G_GINT64_FORMAT " failed %s\n   again: ./dev sim --seeds 1 --seed %" G_GINT64_FORMAT "\n", seed,
           result.violation, seed);
    g_free(result.violation);
  }
  printf("%" G_GINT64_FORMAT " runs in %.1f s: %" G_GUINT64_FORMAT " records written, %" G_GUINT64_FORMAT
         " retries answered as duplicates, %" G_GUINT64_FORMAT " crashes, %" G_GUINT64_FORMAT
         " times given up; %u failed\n",
         seeds, (double)(g_get_monotonic_time() - start_us) / G_USEC_PER_SEC, records, duplicates, crashes, give_ups,
         failed);
  return failed > 0;
}
