/* The surgeon; see surgeon.h.
 *
 * States: idle ──surgeon_begin──► busy ──its thread has done it──► idle. A mutex guards what other threads see.
 * Invariants: at most one controller's data is gone or doubtful at any time, so a majority always has what was
 * acknowledged. Failure modes: a job whose calls never succeed goes on until the surgeon is freed; the run then tells
 * what it tried. */
#include "tests/chaos/surgeon.h"

#include "tests/chaos/caller.h"

#define CALL_MS 5000
#define REST_MS 200
#define BOOTSTRAP_S 60

struct Surgeon {
  Fleet *fleet;
  Caller caller;
  GRand *random;
  void (*say)(const char *line, gpointer data);
  gpointer data;
  GThread *thread;
  GMutex mutex;
  GCond wake;
  gboolean busy, quitting;
  SurgeonJob job;
  guint member, standby, at;
  guint down; /* the one that must not run, or G_MAXUINT */
  guint done[3];
  char *state;
};

/* ---- What others see ---- */

static void set_state(Surgeon *surgeon, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void set_state(Surgeon *surgeon, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_mutex_lock(&surgeon->mutex);
  g_free(surgeon->state);
  surgeon->state = g_strdup_vprintf(format, args);
  g_mutex_unlock(&surgeon->mutex);
  va_end(args);
}

static void say(Surgeon *surgeon, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(Surgeon *surgeon, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  surgeon->say(line, surgeon->data);
}

static gboolean is_quitting(Surgeon *surgeon) {
  g_mutex_lock(&surgeon->mutex);
  gboolean quitting = surgeon->quitting;
  g_mutex_unlock(&surgeon->mutex);
  return quitting;
}

static void set_down(Surgeon *surgeon, guint controller) {
  g_mutex_lock(&surgeon->mutex);
  surgeon->down = controller;
  g_mutex_unlock(&surgeon->mutex);
}

static void rest(Surgeon *surgeon, guint most_ms) {
  g_usleep((gulong)g_rand_int_range(surgeon->random, 0, (gint32)most_ms + 1) * 1000);
}

/* ---- Calls that are tried until they succeed ---- */

static void next_address(Surgeon *surgeon, const Failure *failure) {
  const char *hint = caller_hint(failure);
  guint count = fleet_controllers(surgeon->fleet);
  surgeon->at = (surgeon->at + 1) % count;
  for (guint i = 0; hint && i < count; i++)
    if (g_str_equal(hint, fleet_client_address(surgeon->fleet, i)))
      surgeon->at = i;
  g_usleep(REST_MS * 1000);
}

/* One try at the controller that was active last. @what: for the state. */
static Failure *attempt(Surgeon *surgeon, const char *what, const char *method, const ProtobufCMessage *request,
                        RpcMessage **ret_answer) {
  const char *address = fleet_client_address(surgeon->fleet, surgeon->at);
  set_state(surgeon, "%s, at %s", what, address);
  Failure *failure = caller_admin(&surgeon->caller, address, method, request, CALL_MS, ret_answer);
  if (failure) {
    g_autofree char *text = caller_text(failure);
    set_state(surgeon, "%s, at %s: %s", what, address, text);
  }
  return failure;
}

static void remove_member(Surgeon *surgeon, guint member) {
  g_autofree char *what = g_strdup_printf("remove controller %u", member + 1);
  Milena__V1__RemoveControllerRequest request = MILENA__V1__REMOVE_CONTROLLER_REQUEST__INIT;
  request.id = (gint32)member + 1;
  while (!is_quitting(surgeon)) {
    g_autoptr(RpcMessage) answer = NULL;
    g_autoptr(Failure) failure = attempt(surgeon, what, "RemoveController", &request.base, &answer);
    if (!failure || failure_reason(failure) == FAILURE(UNKNOWN_CONTROLLER))
      return;
    next_address(surgeon, failure);
  }
}

static void add_member(Surgeon *surgeon, guint member) {
  g_autofree char *what = g_strdup_printf("add controller %u", member + 1);
  Milena__V1__AddControllerRequest request = MILENA__V1__ADD_CONTROLLER_REQUEST__INIT;
  request.id = (gint32)member + 1;
  request.peer_address = (char *)fleet_peer_address(surgeon->fleet, member);
  while (!is_quitting(surgeon)) {
    g_autoptr(RpcMessage) answer = NULL;
    g_autoptr(Failure) failure = attempt(surgeon, what, "AddController", &request.base, &answer);
    if (failure) {
      next_address(surgeon, failure);
      continue;
    }
    const Milena__V1__AddControllerResponse *response = rpc_message_body(answer);
    if (response->controller && response->controller->role == MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_VOTER)
      return;
    set_state(surgeon, "%s: it still catches up", what);
    g_usleep(REST_MS * 1000);
  }
}

/* ---- Jobs ---- */

/* It comes back empty, and may not vote; later it is made a member again. */
static void replace(Surgeon *surgeon, guint member) {
  fleet_wipe(surgeon->fleet, member);
  rest(surgeon, 1000);
  fleet_start(surgeon->fleet, member);
  set_down(surgeon, G_MAXUINT);
  rest(surgeon, 2000);
  remove_member(surgeon, member);
  rest(surgeon, 500);
  add_member(surgeon, member);
  say(surgeon, "controller %u is a member again, with a new disk", member + 1);
}

static void damage(Surgeon *surgeon, guint member) {
  g_autofree char *what = fleet_damage(surgeon->fleet, member);
  fleet_start(surgeon->fleet, member);
  set_state(surgeon, "look whether controller %u starts over the damage", member + 1);
  for (guint i = 0; i < 30 && !fleet_has_refused(surgeon->fleet, member); i++)
    g_usleep(100000);
  say(surgeon, "controller %u %s: %s", member + 1,
      fleet_has_refused(surgeon->fleet, member) ? "refuses to start" : "starts over damage that changes nothing", what);
  set_down(surgeon, member);
  replace(surgeon, member);
}

static void move(Surgeon *surgeon, guint member) {
  guint standby = surgeon->standby;
  gboolean add_first = g_rand_boolean(surgeon->random);
  fleet_wipe(surgeon->fleet, standby);
  fleet_start(surgeon->fleet, standby);
  if (!add_first)
    remove_member(surgeon, member);
  add_member(surgeon, standby);
  if (add_first)
    remove_member(surgeon, member);
  rest(surgeon, 3000); /* it still runs, and disturbs nobody */
  set_down(surgeon, member);
  fleet_wipe(surgeon->fleet, member);
  g_mutex_lock(&surgeon->mutex);
  surgeon->standby = member;
  surgeon->down = member;
  g_mutex_unlock(&surgeon->mutex);
  say(surgeon, "controller %u is a member, and %u stands by", standby + 1, member + 1);
}

static void carry_out(Surgeon *surgeon, SurgeonJob job, guint member) {
  if (job == SURGEON_REPLACE)
    replace(surgeon, member);
  else if (job == SURGEON_DAMAGE)
    damage(surgeon, member);
  else
    move(surgeon, member);
}

static gpointer surgeon_main(gpointer data) {
  Surgeon *surgeon = data;
  g_mutex_lock(&surgeon->mutex);
  while (!surgeon->quitting) {
    if (!surgeon->busy) {
      g_cond_wait(&surgeon->wake, &surgeon->mutex);
      continue;
    }
    SurgeonJob job = surgeon->job;
    guint member = surgeon->member;
    g_mutex_unlock(&surgeon->mutex);
    carry_out(surgeon, job, member);
    g_mutex_lock(&surgeon->mutex);
    surgeon->done[job]++;
    surgeon->busy = FALSE;
  }
  g_mutex_unlock(&surgeon->mutex);
  return NULL;
}

Surgeon *surgeon_new(Fleet *fleet, guint standby, guint64 seed, void (*say_line)(const char *line, gpointer data),
                     gpointer data) {
  Surgeon *surgeon = g_new0(Surgeon, 1);
  surgeon->fleet = fleet;
  surgeon->standby = surgeon->down = standby;
  surgeon->random = g_rand_new_with_seed((guint32)seed);
  surgeon->say = say_line;
  surgeon->data = data;
  g_mutex_init(&surgeon->mutex);
  g_cond_init(&surgeon->wake);
  caller_init(&surgeon->caller);
  surgeon->thread = g_thread_new("surgeon", surgeon_main, surgeon);
  return surgeon;
}

void surgeon_free(Surgeon *surgeon) {
  if (!surgeon)
    return;
  g_mutex_lock(&surgeon->mutex);
  surgeon->quitting = TRUE;
  g_cond_signal(&surgeon->wake);
  g_mutex_unlock(&surgeon->mutex);
  g_thread_join(surgeon->thread);
  caller_clear(&surgeon->caller);
  g_rand_free(surgeon->random);
  g_mutex_clear(&surgeon->mutex);
  g_cond_clear(&surgeon->wake);
  g_free(surgeon->state);
  g_free(surgeon);
}

gboolean surgeon_begin(Surgeon *surgeon, SurgeonJob job, guint member) {
  g_mutex_lock(&surgeon->mutex);
  gboolean begins = !surgeon->busy && member != surgeon->standby;
  if (begins) {
    surgeon->job = job;
    surgeon->member = member;
    surgeon->busy = TRUE;
    surgeon->down = job == SURGEON_MOVE ? G_MAXUINT : member;
    g_cond_signal(&surgeon->wake);
  }
  g_mutex_unlock(&surgeon->mutex);
  return begins;
}

gboolean surgeon_is_busy(Surgeon *surgeon) {
  g_mutex_lock(&surgeon->mutex);
  gboolean busy = surgeon->busy;
  g_mutex_unlock(&surgeon->mutex);
  return busy;
}

char *surgeon_state(Surgeon *surgeon) {
  g_mutex_lock(&surgeon->mutex);
  char *state = g_strdup(surgeon->state ? surgeon->state : "nothing");
  g_mutex_unlock(&surgeon->mutex);
  return state;
}

guint surgeon_standby(Surgeon *surgeon) {
  g_mutex_lock(&surgeon->mutex);
  guint standby = surgeon->standby;
  g_mutex_unlock(&surgeon->mutex);
  return standby;
}

gboolean surgeon_keeps_down(Surgeon *surgeon, guint controller) {
  g_mutex_lock(&surgeon->mutex);
  gboolean kept = surgeon->down == controller || (!surgeon->busy && surgeon->standby == controller);
  g_mutex_unlock(&surgeon->mutex);
  return kept;
}

guint surgeon_done(Surgeon *surgeon, SurgeonJob job) {
  g_mutex_lock(&surgeon->mutex);
  guint done = surgeon->done[job];
  g_mutex_unlock(&surgeon->mutex);
  return done;
}

/* ---- The beginning ---- */

char *surgeon_bootstrap(Fleet *fleet, guint count) {
  g_auto(Caller) caller;
  caller_init(&caller);
  g_autofree Milena__V1__InitialController *controllers = g_new0(Milena__V1__InitialController, count);
  g_autofree Milena__V1__InitialController **list = g_new0(Milena__V1__InitialController *, count);
  for (guint i = 0; i < count; i++) {
    milena__v1__initial_controller__init(&controllers[i]);
    controllers[i].id = (gint32)i + 1;
    controllers[i].peer_address = (char *)fleet_peer_address(fleet, i);
    list[i] = &controllers[i];
  }
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  request.n_controllers = count;
  request.controllers = list;
  request.request_id = (char *)"chaos";
  char *why = NULL;
  for (gint64 until_us = g_get_monotonic_time() + BOOTSTRAP_S * G_USEC_PER_SEC; g_get_monotonic_time() < until_us;) {
    g_autoptr(RpcMessage) answer = NULL;
    g_autoptr(Failure) failure =
        caller_admin(&caller, fleet_client_address(fleet, 0), "BootstrapCluster", &request.base, CALL_MS, &answer);
    g_clear_pointer(&why, g_free);
    if (!failure)
      return NULL;
    why = caller_text(failure);
    g_usleep(REST_MS * 1000);
  }
  return why;
}
