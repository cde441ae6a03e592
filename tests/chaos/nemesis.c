/* The nemesis; see nemesis.h.
 *
 * Purpose: put faults in force and take them back. Owning thread: the one that runs it, which must live as long as the
 * processes that it starts.
 * Invariants: what is in force is known to the fleet and the network, so mending needs no list: all is thawed, started,
 * plugged in. Data is lost at one controller at a time (the surgeon has one job): a majority always has what was
 * acknowledged. The order of choices depends on the seed alone; what they hit depends on who is active. */
#include "tests/chaos/nemesis.h"

#include <string.h>

#include "tests/chaos/caller.h"

#define FAULTS_AT_ONCE 3
#define PROGRESS_S 60 /* from a mend until writes succeed, and the surgeon is done: a loaded machine is slow */
#define PROGRESS_WRITES 5
#define STEP_MS 20

struct Nemesis {
  NemesisOptions options;
  Caller caller;
  GRand *random;
  guint count;   /* of controllers, the one that stands by among them */
  guint members; /* at one time */
  guint in_force;
  gint64 start_us;
  guint counts[FAULT_COUNT];
  guint64 bytes_lost;
  GArray *kills_us;
  gint64 longest_mend_us;
  char *failure;
};

static const char *const NAMES[] = {
    "kill",          "kill active", "power cut",    "power cut of all", "freeze",
    "freeze active", "hiccup",      "cut off",      "cut off active",   "unplug",
    "deaf",          "dumb",        "bridge",       "no answers",       "failing fsync",
    "transfer",      "lost disk",   "damaged disk", "exchange",
};
G_STATIC_ASSERT(G_N_ELEMENTS(NAMES) == FAULT_COUNT);

const char *nemesis_fault_name(FaultKind kind) {
  return NAMES[kind];
}

gboolean nemesis_is_fault(const char *name) {
  for (guint i = 0; i < FAULT_COUNT; i++)
    if (g_str_equal(name, NAMES[i]))
      return TRUE;
  return FALSE;
}

/* ---- Saying ---- */

static void say(Nemesis *nemesis, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(Nemesis *nemesis, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  nemesis->options.say(line, nemesis->options.data);
}

static void fail(Nemesis *nemesis, char *why) {
  say(nemesis, "WRONG: %s", why);
  if (!nemesis->failure)
    nemesis->failure = g_steal_pointer(&why);
  g_free(why);
}

/* Whoever ended by itself is seen here; FALSE when that was wrong. */
static gboolean look(Nemesis *nemesis) {
  char *wrong = fleet_look(nemesis->options.fleet);
  if (wrong)
    fail(nemesis, wrong);
  return !nemesis->failure;
}

static void pause_ms(Nemesis *nemesis, gint32 least_ms, gint32 most_ms, const volatile gint *stop) {
  gint64 until_us = g_get_monotonic_time() + (gint64)g_rand_int_range(nemesis->random, least_ms, most_ms + 1) * 1000;
  while (g_get_monotonic_time() < until_us && look(nemesis) && !(stop && *stop))
    g_usleep(STEP_MS * 1000);
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

static guint active_member(Nemesis *nemesis) {
  return load_last_active(nemesis->options.load);
}

/* ---- The faults ---- */

static void kill_one(Nemesis *nemesis, guint who, gboolean loses) {
  nemesis->bytes_lost += fleet_kill(nemesis->options.fleet, who, loses);
}

/* When nothing else is in force, the time until writes succeed again is measured: nothing else comes in between. */
static void kill_active(Nemesis *nemesis) {
  guint who = active_member(nemesis);
  gboolean alone = nemesis->in_force == 0 && fleet_state(nemesis->options.fleet, who) == FLEET_RUNNING;
  gint64 now_us = g_get_monotonic_time();
  kill_one(nemesis, who, FALSE);
  if (!alone || !nemesis->options.surgeon || surgeon_is_busy(nemesis->options.surgeon))
    return;
  g_array_append_val(nemesis->kills_us, now_us);
  guint64 before = load_writes_ok(nemesis->options.load);
  while (load_writes_ok(nemesis->options.load) < before + PROGRESS_WRITES && look(nemesis) &&
         g_get_monotonic_time() - now_us < PROGRESS_S * G_USEC_PER_SEC / 2)
    g_usleep(STEP_MS * 1000);
}

static void kill_all(Nemesis *nemesis) {
  for (guint i = 0; i < nemesis->count; i++)
    kill_one(nemesis, i, TRUE);
}

/* Clients that asked it meanwhile are answered when it wakes: it must not tell what it knew before. */
static void hiccup(Nemesis *nemesis, guint who) {
  fleet_freeze(nemesis->options.fleet, who);
  pause_ms(nemesis, 300, 1500, NULL);
  fleet_thaw(nemesis->options.fleet, who);
}

/* Between controllers only: what clients send arrives. */
static void cut(Nemesis *nemesis, guint who, gboolean inbound, gboolean outbound) {
  for (guint i = 0; i < nemesis->count; i++) {
    if (i == who)
      continue;
    if (inbound)
      net_block(nemesis->options.net, i, who);
    if (outbound)
      net_block(nemesis->options.net, who, i);
  }
}

static void bridge(Nemesis *nemesis, guint middle) {
  for (guint i = 0; i < nemesis->count; i++)
    for (guint k = 0; k < nemesis->count; k++)
      if (i != k && i != middle && k != middle)
        net_block(nemesis->options.net, i, k);
}

static void fail_sync(Nemesis *nemesis, guint who) {
  guint syncs = (guint)g_rand_int_range(nemesis->random, 1, 40);
  kill_one(nemesis, who, TRUE);
  if (!nemesis->options.surgeon || !surgeon_keeps_down(nemesis->options.surgeon, who))
    fleet_start_failing(nemesis->options.fleet, who, syncs);
}

static void transfer(Nemesis *nemesis, guint to) {
  Milena__V1__TransferLeadershipRequest request = MILENA__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
  request.id = (gint32)to + 1;
  const char *address = fleet_client_address(nemesis->options.fleet, active_member(nemesis));
  g_autoptr(RpcMessage) answer = NULL;
  g_autoptr(Failure) failure =
      caller_admin(&nemesis->caller, address, "TransferLeadership", &request.base, 3000, &answer);
  if (failure) {
    g_autofree char *text = caller_text(failure);
    say(nemesis, "  not handed over: %.150s", text);
  }
}

static gboolean begin_surgery(Nemesis *nemesis, SurgeonJob job, guint who) {
  return nemesis->options.surgeon && surgeon_begin(nemesis->options.surgeon, job, who);
}

static gboolean is_on_active(FaultKind kind) {
  return kind == FAULT_KILL_ACTIVE || kind == FAULT_FREEZE_ACTIVE || kind == FAULT_HICCUP || kind == FAULT_CUT_ACTIVE ||
         kind == FAULT_NO_ANSWERS;
}

/* Put it in force. FALSE when it can't be now. */
static gboolean begin(Nemesis *nemesis, FaultKind kind, guint who) {
  const NemesisOptions *options = &nemesis->options;
  switch (kind) {
  case FAULT_KILL:
    kill_one(nemesis, who, FALSE);
    break;
  case FAULT_KILL_ACTIVE:
    kill_active(nemesis);
    break;
  case FAULT_POWER_CUT:
    kill_one(nemesis, who, TRUE);
    break;
  case FAULT_POWER_CUT_ALL:
    kill_all(nemesis);
    break;
  case FAULT_FREEZE:
  case FAULT_FREEZE_ACTIVE:
    fleet_freeze(options->fleet, who);
    break;
  case FAULT_HICCUP:
    hiccup(nemesis, who);
    break;
  case FAULT_CUT_OFF:
  case FAULT_CUT_ACTIVE:
    cut(nemesis, who, TRUE, TRUE);
    break;
  case FAULT_UNPLUG:
    net_unplug(options->net, who);
    break;
  case FAULT_DEAF:
    cut(nemesis, who, TRUE, FALSE);
    break;
  case FAULT_DUMB:
    cut(nemesis, who, FALSE, TRUE);
    break;
  case FAULT_BRIDGE:
    bridge(nemesis, who);
    break;
  case FAULT_NO_ANSWERS:
    net_block(options->net, who, NET_OUTSIDE);
    break;
  case FAULT_FAILING_SYNC:
    fail_sync(nemesis, who);
    break;
  case FAULT_TRANSFER:
    transfer(nemesis, who);
    break;
  case FAULT_LOST_DISK:
    return begin_surgery(nemesis, SURGEON_REPLACE, who);
  case FAULT_DAMAGED_DISK:
    return begin_surgery(nemesis, SURGEON_DAMAGE, who);
  case FAULT_MOVE:
    return begin_surgery(nemesis, SURGEON_MOVE, who);
  case FAULT_COUNT:
    return FALSE;
  }
  return TRUE;
}

const char *nemesis_skips(const Nemesis *nemesis, FaultKind kind) {
  if (nemesis->options.only && !g_strv_contains(nemesis->options.only, NAMES[kind]))
    return "it was not asked for";
  if (kind >= FAULT_CUT_OFF && kind <= FAULT_NO_ANSWERS && !net_can_cut(nemesis->options.net))
    return "network namespaces can't be made here";
  if ((kind == FAULT_POWER_CUT || kind == FAULT_POWER_CUT_ALL || kind == FAULT_FAILING_SYNC) &&
      !nemesis->options.can_lose)
    return "the library that notes what is not synced is not there";
  gboolean needs_others = kind == FAULT_CUT_OFF || kind == FAULT_CUT_ACTIVE || kind == FAULT_DEAF ||
                          kind == FAULT_DUMB || kind == FAULT_BRIDGE || kind >= FAULT_TRANSFER;
  return needs_others && !nemesis->options.surgeon ? "there is one controller" : NULL;
}

static void inflict(Nemesis *nemesis, FaultKind kind) {
  guint who = is_on_active(kind) ? active_member(nemesis) : any_member(nemesis);
  gint64 now_us = g_get_monotonic_time() - nemesis->start_us;
  if (nemesis_skips(nemesis, kind) || !begin(nemesis, kind, who))
    return;
  nemesis->counts[kind]++;
  nemesis->in_force++;
  say(nemesis, "%6.1f s  %-16s controller %u", (double)now_us / G_USEC_PER_SEC, NAMES[kind], who + 1);
}

/* ---- Mending ---- */

static void take_all_back(Nemesis *nemesis) {
  const NemesisOptions *options = &nemesis->options;
  if (net_can_cut(options->net))
    net_heal(options->net);
  for (guint i = 0; i < nemesis->count; i++) {
    fleet_thaw(options->fleet, i);
    if (fleet_is_failing(options->fleet, i))
      fleet_kill(options->fleet, i, FALSE);
    gboolean stays_down =
        (options->surgeon && surgeon_keeps_down(options->surgeon, i)) || fleet_has_refused(options->fleet, i);
    if (!stays_down)
      fleet_start(options->fleet, i);
  }
  nemesis->in_force = 0;
}

static gboolean is_surgery_over(Nemesis *nemesis) {
  return !nemesis->options.surgeon || !surgeon_is_busy(nemesis->options.surgeon);
}

static char *no_progress(Nemesis *nemesis, guint64 writes) {
  g_autofree char *surgery = nemesis->options.surgeon ? surgeon_state(nemesis->options.surgeon) : g_strdup("nothing");
  return g_strdup_printf("%d s after everything was mended %" G_GUINT64_FORMAT
                         " writes were acknowledged, and the surgeon is %s (last: %s)",
                         PROGRESS_S, writes, is_surgery_over(nemesis) ? "done" : "not done", surgery);
}

gboolean nemesis_mend(Nemesis *nemesis) {
  take_all_back(nemesis);
  gint64 begin_us = g_get_monotonic_time(), writing_us = 0;
  guint64 before = load_writes_ok(nemesis->options.load);
  for (;;) {
    guint64 writes = load_writes_ok(nemesis->options.load) - before;
    if (!look(nemesis))
      return FALSE;
    if (writes >= PROGRESS_WRITES && !writing_us)
      writing_us = g_get_monotonic_time() - begin_us;
    if (writing_us && is_surgery_over(nemesis))
      break;
    if (g_get_monotonic_time() - begin_us > PROGRESS_S * G_USEC_PER_SEC) {
      fail(nemesis, no_progress(nemesis, writes));
      return FALSE;
    }
    take_all_back(nemesis); /* one may have ended since: its disk refused just now */
    g_usleep(STEP_MS * 1000);
  }
  nemesis->longest_mend_us = MAX(nemesis->longest_mend_us, writing_us);
  return TRUE;
}

/* ---- Runs ---- */

/* What happens often, and what takes long to mend seldom. */
static FaultKind any_fault(Nemesis *nemesis) {
  static const guint WEIGHTS[FAULT_COUNT] = {6, 8, 6, 2, 5, 6, 8, 5, 6, 4, 5, 5, 4, 4, 4, 5, 3, 3, 4};
  guint sum = 0;
  for (guint i = 0; i < FAULT_COUNT; i++)
    sum += nemesis_skips(nemesis, (FaultKind)i) ? 0 : WEIGHTS[i];
  guint at = (guint)g_rand_int_range(nemesis->random, 0, (gint32)sum);
  for (guint i = 0; i < FAULT_COUNT; i++) {
    guint weight = nemesis_skips(nemesis, (FaultKind)i) ? 0 : WEIGHTS[i];
    if (at < weight)
      return (FaultKind)i;
    at -= weight;
  }
  return FAULT_KILL;
}

static gboolean goes_on(const Nemesis *nemesis, const volatile gint *stop) {
  return !nemesis->failure && !*stop;
}

void nemesis_run(Nemesis *nemesis, gint64 until_us, const volatile gint *stop) {
  while (goes_on(nemesis, stop) && g_get_monotonic_time() < until_us) {
    pause_ms(nemesis, 200, 2000, stop);
    guint faults = (guint)g_rand_int_range(nemesis->random, 1, FAULTS_AT_ONCE + 1);
    for (guint i = 0; i < faults && goes_on(nemesis, stop); i++) {
      inflict(nemesis, any_fault(nemesis));
      pause_ms(nemesis, 100, 2500, stop);
    }
    pause_ms(nemesis, 500, 3000, stop);
    if (!nemesis->failure)
      nemesis_mend(nemesis);
  }
}

/* The disk refuses the n-th sync, and those come with the writes. */
static void wait_for_refusal(Nemesis *nemesis, const volatile gint *stop) {
  for (guint i = 0; i < 100 && fleet_disk_refusals(nemesis->options.fleet) == 0; i++)
    pause_ms(nemesis, 100, 100, stop);
}

void nemesis_tour(Nemesis *nemesis, const volatile gint *stop) {
  for (guint kind = 0; kind < FAULT_COUNT && goes_on(nemesis, stop); kind++) {
    if (nemesis_skips(nemesis, (FaultKind)kind))
      continue;
    inflict(nemesis, (FaultKind)kind);
    pause_ms(nemesis, 800, 1200, stop);
    if (kind == FAULT_FAILING_SYNC)
      wait_for_refusal(nemesis, stop);
    if (!nemesis->failure)
      nemesis_mend(nemesis);
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
  caller_init(&nemesis->caller);
  return nemesis;
}

void nemesis_free(Nemesis *nemesis) {
  if (!nemesis)
    return;
  caller_clear(&nemesis->caller);
  g_rand_free(nemesis->random);
  g_array_unref(nemesis->kills_us);
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

gint64 nemesis_longest_mend_us(const Nemesis *nemesis) {
  return nemesis->longest_mend_us;
}
