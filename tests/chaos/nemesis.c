/* The nemesis; see nemesis.h.
 *
 * Purpose: put faults in force and take them back. Owning thread: the one that runs it, which must live as long as the
 * processes that it starts.
 * Invariants: what is in force is known to the fleet and the network, so mending needs no list: all is thawed, started,
 * plugged in. Data is lost at one controller at a time (the surgeon has one job): a majority always has what was
 * acknowledged. The order of choices depends on the seed alone; what they hit depends on who is active. */
#include "tests/chaos/nemesis.h"

#include "tests/chaos/nemesis_internal.h"

#define SETTLES 0.6 /* share of the rounds after which all replicas come in sync */

const Fault *nemesis_fault(FaultKind kind) {
  return kind < FAULT_BROKER_FIRST ? &NEMESIS_FAULTS[kind] : &NEMESIS_BROKER_FAULTS[kind - FAULT_BROKER_FIRST];
}

const char *nemesis_fault_name(FaultKind kind) {
  return nemesis_fault(kind)->name;
}

gboolean nemesis_is_fault(const char *name) {
  for (guint i = 0; i < FAULT_COUNT; i++)
    if (g_str_equal(name, nemesis_fault_name((FaultKind)i)))
      return TRUE;
  return FALSE;
}

/* ---- Saying ---- */

void nemesis_say(Nemesis *nemesis, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  nemesis->options.say(line, nemesis->options.data);
}

static void fail(Nemesis *nemesis, char *why) {
  nemesis_say(nemesis, "WRONG: %s", why);
  if (!nemesis->failure)
    nemesis->failure = g_steal_pointer(&why);
  g_free(why);
}

gboolean nemesis_look(Nemesis *nemesis) {
  char *wrong = fleet_look(nemesis->options.fleet);
  if (wrong)
    fail(nemesis, wrong);
  return !nemesis->failure;
}

void nemesis_pause_ms(Nemesis *nemesis, gint32 least_ms, gint32 most_ms, const volatile gint *stop) {
  gint64 until_us = g_get_monotonic_time() + (gint64)g_rand_int_range(nemesis->random, least_ms, most_ms + 1) * 1000;
  while (g_get_monotonic_time() < until_us && nemesis_look(nemesis) && !(stop && *stop))
    g_usleep(NEMESIS_STEP_MS * 1000);
}

/* ---- Who ---- */

static guint any_member(Nemesis *nemesis) {
  guint standby = nemesis->options.surgeon ? surgeon_standby(nemesis->options.surgeon) : G_MAXUINT;
  guint chosen = (guint)g_rand_int_range(nemesis->random, 0, (gint32)nemesis->members);
  for (guint i = 0; i < nemesis->count; i++)
    if (i != standby && chosen-- == 0)
      return i;
  return 0;
}

guint nemesis_active_member(const Nemesis *nemesis) {
  return load_last_active(nemesis->options.load);
}

guint nemesis_any_broker(Nemesis *nemesis) {
  return nemesis->count + (guint)g_rand_int_range(nemesis->random, 0, (gint32)fleet_brokers(nemesis->options.fleet));
}

static guint target_of(Nemesis *nemesis, const Fault *fault) {
  switch (fault->target) {
  case HITS_ACTIVE:
    return nemesis_active_member(nemesis);
  case HITS_BROKER:
    return nemesis_any_broker(nemesis);
  case HITS_LEADER:
    return nemesis_leader(nemesis);
  case HITS_MEMBER:
    break;
  }
  return any_member(nemesis);
}

/* ---- Inflicting ---- */

const char *nemesis_skips(const Nemesis *nemesis, FaultKind kind) {
  const Fault *fault = nemesis_fault(kind);
  if (nemesis->options.only && !g_strv_contains(nemesis->options.only, fault->name))
    return "it was not asked for";
  if (fault->needs & NEEDS_CUTS && !net_can_cut(nemesis->options.net))
    return "network namespaces can't be made here";
  if (fault->needs & NEEDS_LOSS && !nemesis->options.can_lose)
    return "the library that notes what is not synced is not there";
  if (fault->needs & NEEDS_BROKERS && !nemesis->options.traffic)
    return "the brokers are left alone";
  if (fault->needs & NEEDS_SYNCED && !nemesis->options.is_synced)
    return "records are acknowledged before they are synced";
  return fault->needs & NEEDS_OTHERS && !nemesis->options.surgeon ? "there is one controller" : NULL;
}

static void inflict(Nemesis *nemesis, FaultKind kind) {
  const Fault *fault = nemesis_fault(kind);
  if (nemesis_skips(nemesis, kind))
    return;
  guint who = target_of(nemesis, fault);
  gint64 now_us = g_get_monotonic_time() - nemesis->start_us;
  if (!fault->begin(nemesis, who))
    return;
  nemesis->counts[kind]++;
  nemesis->in_force++;
  nemesis_say(nemesis, "%6.1f s  %-26s %s", (double)now_us / G_USEC_PER_SEC, fault->name,
              fleet_name(nemesis->options.fleet, who));
}

void nemesis_kill(Nemesis *nemesis, guint node, gboolean loses) {
  nemesis->bytes_lost += fleet_kill(nemesis->options.fleet, node, loses);
}

/* ---- Mending ---- */

/* Whether the damage was found or not: else it might be the last copy one day. */
static void replace_damaged(Nemesis *nemesis) {
  if (!nemesis->damaged)
    return;
  if (fleet_has_refused(nemesis->options.fleet, nemesis->damaged))
    nemesis_say(nemesis, "  the damage was found at the start");
  fleet_wipe(nemesis->options.fleet, nemesis->damaged);
  nemesis->damaged = 0;
}

static void grow_again(Nemesis *nemesis) {
  if (!nemesis->is_shrunk)
    return;
  g_autofree char *wrong = traffic_grow(nemesis->options.traffic);
  nemesis->is_shrunk = wrong != NULL;
}

static void take_all_back(Nemesis *nemesis) {
  const NemesisOptions *options = &nemesis->options;
  replace_damaged(nemesis);
  if (net_can_cut(options->net))
    net_heal(options->net);
  guint nodes = nemesis->count + fleet_brokers(options->fleet);
  for (guint i = 0; i < nodes; i++) {
    fleet_thaw(options->fleet, i);
    if (fleet_is_failing(options->fleet, i))
      fleet_kill(options->fleet, i, FALSE);
    gboolean stays_down = (i < nemesis->count && options->surgeon && surgeon_keeps_down(options->surgeon, i)) ||
                          fleet_has_refused(options->fleet, i);
    if (!stays_down)
      fleet_start(options->fleet, i);
  }
  nemesis->in_force = 0;
}

static gboolean is_surgery_over(Nemesis *nemesis) {
  return !nemesis->options.surgeon || !surgeon_is_busy(nemesis->options.surgeon);
}

/* Every partition has taken a record since. */
static gboolean is_traffic_well(Nemesis *nemesis, gint64 since_us) {
  return !nemesis->options.traffic || traffic_is_acknowledged(nemesis->options.traffic, TRAFFIC_ALL, since_us);
}

static char *no_progress(Nemesis *nemesis, guint64 writes, gint64 since_us) {
  g_autofree char *surgery = nemesis->options.surgeon ? surgeon_state(nemesis->options.surgeon) : g_strdup("nothing");
  g_autofree char *silent =
      nemesis->options.traffic ? traffic_silent_partitions(nemesis->options.traffic, since_us) : g_strdup("");
  return g_strdup_printf("%d s after everything was mended %" G_GUINT64_FORMAT
                         " writes of metadata were acknowledged, the surgeon is %s (last: %s), and no record in the "
                         "partitions: %s",
                         NEMESIS_PROGRESS_S, writes, is_surgery_over(nemesis) ? "done" : "not done", surgery,
                         *silent ? silent : "none, all took some");
}

gboolean nemesis_mend(Nemesis *nemesis) {
  take_all_back(nemesis);
  gint64 begin_us = g_get_monotonic_time(), writing_us = 0;
  guint64 before = load_writes_ok(nemesis->options.load);
  for (;;) {
    guint64 writes = load_writes_ok(nemesis->options.load) - before;
    if (!nemesis_look(nemesis))
      return FALSE;
    if (writes >= NEMESIS_PROGRESS_WRITES && !writing_us && is_traffic_well(nemesis, begin_us))
      writing_us = g_get_monotonic_time() - begin_us;
    if (writing_us && is_surgery_over(nemesis) && !nemesis->is_shrunk)
      break;
    if (g_get_monotonic_time() - begin_us > NEMESIS_PROGRESS_S * G_USEC_PER_SEC) {
      fail(nemesis, no_progress(nemesis, writes, begin_us));
      return FALSE;
    }
    grow_again(nemesis);
    take_all_back(nemesis); /* one may have ended since: its disk refused just now */
    g_usleep(NEMESIS_STEP_MS * 1000);
  }
  nemesis->longest_mend_us = MAX(nemesis->longest_mend_us, writing_us);
  return TRUE;
}

/* ---- Runs ---- */

static guint weight_of(const Nemesis *nemesis, guint kind) {
  return nemesis_skips(nemesis, (FaultKind)kind) ? 0 : nemesis_fault((FaultKind)kind)->weight;
}

/* FAULT_COUNT when there is none to choose from. */
static FaultKind any_fault(Nemesis *nemesis) {
  guint sum = 0, kind = 0;
  for (guint i = 0; i < FAULT_COUNT; i++)
    sum += weight_of(nemesis, i);
  if (sum == 0)
    return FAULT_COUNT;
  guint at = (guint)g_rand_int_range(nemesis->random, 0, (gint32)sum);
  for (; at >= weight_of(nemesis, kind); kind++)
    at -= weight_of(nemesis, kind);
  return (FaultKind)kind;
}

static gboolean goes_on(const Nemesis *nemesis, const volatile gint *stop) {
  return !nemesis->failure && !*stop;
}

/* Now and then the next round begins only when all replicas are in sync: some faults need that, and measuring does. */
static void maybe_settle(Nemesis *nemesis) {
  if (!nemesis->options.traffic || nemesis->failure || g_rand_double(nemesis->random) > SETTLES)
    return;
  char *unsettled = traffic_settle(nemesis->options.traffic, NEMESIS_PROGRESS_S);
  if (unsettled)
    fail(nemesis, g_strdup_printf("%d s after everything was mended not all replicas are in sync: %s",
                                  NEMESIS_PROGRESS_S, unsettled));
  g_free(unsettled);
}

void nemesis_run(Nemesis *nemesis, gint64 until_us, const volatile gint *stop) {
  while (goes_on(nemesis, stop) && g_get_monotonic_time() < until_us) {
    nemesis_pause_ms(nemesis, 200, 2000, stop);
    guint faults = (guint)g_rand_int_range(nemesis->random, 1, (gint32)nemesis->options.at_once + 1);
    for (guint i = 0; i < faults && goes_on(nemesis, stop); i++) {
      FaultKind kind = any_fault(nemesis);
      if (kind != FAULT_COUNT)
        inflict(nemesis, kind);
      nemesis_pause_ms(nemesis, 100, 2500, stop);
    }
    nemesis_pause_ms(nemesis, 500, 3000, stop);
    if (!nemesis->failure)
      nemesis_mend(nemesis);
    maybe_settle(nemesis);
  }
}

/* The disk refuses the n-th sync, and those come with the writes. */
static void wait_for_refusal(Nemesis *nemesis, guint before, const volatile gint *stop) {
  for (guint i = 0; i < 100 && fleet_disk_refusals(nemesis->options.fleet) == before; i++)
    nemesis_pause_ms(nemesis, 100, 100, stop);
}

void nemesis_tour(Nemesis *nemesis, const volatile gint *stop) {
  for (guint kind = 0; kind < FAULT_COUNT && goes_on(nemesis, stop); kind++) {
    if (nemesis_skips(nemesis, (FaultKind)kind))
      continue;
    guint refusals = fleet_disk_refusals(nemesis->options.fleet);
    inflict(nemesis, (FaultKind)kind);
    nemesis_pause_ms(nemesis, 800, 1200, stop);
    if (kind == FAULT_FAILING_SYNC || kind == FAULT_BROKER_FAILING_SYNC)
      wait_for_refusal(nemesis, refusals, stop);
    if (!nemesis->failure)
      nemesis_mend(nemesis);
    maybe_settle(nemesis);
  }
}

/* ---- Made, asked and freed ---- */

Nemesis *nemesis_new(const NemesisOptions *options) {
  Nemesis *nemesis = g_new0(Nemesis, 1);
  nemesis->options = *options;
  nemesis->random = g_rand_new_with_seed((guint32)options->seed);
  nemesis->count = fleet_controllers(options->fleet);
  nemesis->members = options->surgeon ? nemesis->count - 1 : nemesis->count;
  nemesis->start_us = g_get_monotonic_time();
  nemesis->kills_us = g_array_new(FALSE, FALSE, sizeof(gint64));
  nemesis->hits = g_array_new(FALSE, FALSE, sizeof(NemesisHit));
  caller_init(&nemesis->caller);
  return nemesis;
}

void nemesis_free(Nemesis *nemesis) {
  if (!nemesis)
    return;
  caller_clear(&nemesis->caller);
  g_rand_free(nemesis->random);
  g_array_unref(nemesis->kills_us);
  g_array_unref(nemesis->hits);
  g_free(nemesis->failure);
  g_free(nemesis);
}

const char *nemesis_failure(const Nemesis *nemesis) {
  return nemesis->failure;
}

guint nemesis_count(const Nemesis *nemesis, FaultKind kind) {
  return nemesis->counts[kind];
}

guint64 nemesis_bytes_lost(const Nemesis *nemesis) {
  return nemesis->bytes_lost;
}

const GArray *nemesis_kills_us(const Nemesis *nemesis) {
  return nemesis->kills_us;
}

const GArray *nemesis_hits(const Nemesis *nemesis) {
  return nemesis->hits;
}

gint64 nemesis_longest_mend_us(const Nemesis *nemesis) {
  return nemesis->longest_mend_us;
}
