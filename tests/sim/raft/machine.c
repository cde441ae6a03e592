/* See machine.h.
 *
 * Invariants: `image` holds exactly what was applied, `tip` that and the entries of `pending`; pending is in the order
 * of indexes, and empty unless this leads. Failure modes: an entry or snapshot that can't be applied is a broken rule.
 */
#include "tests/sim/raft/machine.h"

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "storage/log/crc32c.h"
#include "tests/sim/raft/rules.h"

/* Equal images at equal versions are looked for at each version that this divides. */
#define COMPARE_EVERY 8

/* A proposal that waits for its entry. */
typedef struct {
  guint64 index, term;
  MetadataImage *result; /* NULL: it only waits for those before it */
  guint client;
  Answer answer;        /* when all goes well */
  MachineChange change; /* done not NULL: of nobody among the clients */
} Pending;

/* A read that waits for its round. */
typedef struct {
  guint client, number, place;
} Read;

struct Machine {
  Node *node;
  MetadataImage *image, *tip;
  GQueue pending;      /* of Pending */
  GPtrArray *reads;    /* of Read, by context; NULL once answered */
  guint64 active_term; /* 0: not active */
  gboolean snapshotting;
};

static void pending_free(gpointer data) {
  Pending *pending = data;
  if (pending->change.free)
    pending->change.free(pending->change.data);
  metadata_image_unref(pending->result);
  g_free(pending);
}

static void set_image(MetadataImage **place, MetadataImage *image) {
  MetadataImage *before = *place;
  *place = metadata_image_ref(image);
  metadata_image_unref(before);
}

static void broken(Machine *machine, const char *what, Failure *failure) {
  sim_violated(machine->node->world->sim, "controller %d, %s: %s", (int)machine->node->id, what,
               failure_message(failure));
  failure_free(failure);
}

static Failure *open_snapshot(GBytes *bytes, MetadataImage **ret_image) {
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  return metadata_snapshot_decode(data, size, ret_image);
}

Failure *machine_new(Node *node, const Stored *stored, Machine **ret_machine) {
  Machine *machine = g_new0(Machine, 1);
  machine->node = node;
  g_queue_init(&machine->pending);
  machine->reads = g_ptr_array_new_with_free_func(g_free);
  Failure *failure = NULL;
  if (stored->snapshot_bytes)
    failure = open_snapshot(stored->snapshot_bytes, &machine->image);
  else
    machine->image = metadata_image_new();
  if (!failure)
    machine->tip = metadata_image_ref(machine->image);
  *ret_machine = machine;
  return failure;
}

void machine_free(Machine *machine) {
  if (!machine)
    return;
  g_queue_clear_full(&machine->pending, pending_free);
  g_ptr_array_unref(machine->reads);
  metadata_image_unref(machine->image);
  metadata_image_unref(machine->tip);
  g_free(machine);
}

MetadataImage *machine_image(const Machine *machine) {
  return machine->image;
}

/* ---- Proposals ---- */

static void answer(Machine *machine, guint client, Answer what) {
  client_answer(machine->node->world, machine->node, client, &what);
}

static void end_pending(Machine *machine, AnswerKind kind) {
  Pending *pending = g_queue_pop_head(&machine->pending);
  pending->answer.kind = kind;
  if (pending->change.done)
    pending->change.done(machine->node, kind, NULL, pending->change.data);
  else
    answer(machine, pending->client, pending->answer);
  pending_free(pending);
}

static void lose_pending(Machine *machine) {
  while (!g_queue_is_empty(&machine->pending))
    end_pending(machine, ANSWER_UNKNOWN);
  set_image(&machine->tip, machine->image);
}

/* Nothing is to be changed: that is so once all that was proposed before is committed. */
static void wait_for_tip(Machine *machine, guint client, Answer done) {
  const Pending *last = g_queue_peek_tail(&machine->pending);
  if (!last) {
    answer(machine, client, done);
    return;
  }
  Pending *pending = g_new0(Pending, 1);
  *pending = (Pending){.index = last->index, .term = last->term, .client = client, .answer = done};
  g_queue_push_tail(&machine->pending, pending);
}

/* The records, made against the tip, are on their way. @ret_pending: whose end is to be told */
static Failure *propose_records(Machine *machine, const GPtrArray *records, Pending **ret_pending) {
  Node *node = machine->node;
  guint64 index = raft_core_last_index(node->core) + 1;
  MetadataRecord **made = (MetadataRecord **)records->pdata;
  g_autoptr(MetadataImage) result = NULL;
  Failure *failure = metadata_image_apply(machine->tip, made, records->len, index, &result);
  g_autoptr(GBytes) bytes = failure ? NULL : metadata_transaction_encode(made, records->len);
  if (!failure)
    failure = raft_core_propose(node->core, bytes, &index);
  if (failure)
    return failure;
  set_image(&machine->tip, result);
  Pending *pending = g_new0(Pending, 1);
  *pending = (Pending){.index = index, .term = raft_core_term(node->core), .result = g_steal_pointer(&result)};
  g_queue_push_tail(&machine->pending, pending);
  *ret_pending = pending;
  return NULL;
}

/* What a request changes is on its way, or it is answered at once. */
static Failure *propose(Machine *machine, const Request *request) {
  Node *node = machine->node;
  g_autoptr(GPtrArray) records = metadata_records_new();
  guint64 index = raft_core_last_index(node->core) + 1, value = 0;
  Failure *failure = commands_make(node->world, machine->tip, index, request, records, &value);
  if (failure)
    return failure;
  Answer done = {.number = request->number, .kind = ANSWER_DONE, .value = value};
  if (records->len == 0) {
    wait_for_tip(machine, request->client, done);
    return NULL;
  }
  Pending *pending;
  failure = propose_records(machine, records, &pending);
  if (failure)
    return failure;
  pending->client = request->client;
  pending->answer = done;
  return NULL;
}

MetadataImage *machine_tip(const Machine *machine) {
  return machine->tip;
}

guint64 machine_active_term(Machine *machine) {
  machine_role_changed(machine);
  return machine->active_term;
}

static void end_change(Machine *machine, AnswerKind kind, Failure *failure, const MachineChange *change) {
  change->done(machine->node, kind, failure, change->data);
  if (change->free)
    change->free(change->data);
  failure_free(failure);
}

void machine_change(Machine *machine, const MachineChange *change) {
  g_autoptr(GPtrArray) records = change->records;
  Node *node = machine->node;
  node->world->result->events++;
  Pending *pending = NULL;
  Failure *failure = NULL;
  if (!machine_active_term(machine))
    failure = failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one.");
  else if (records->len > 0)
    failure = propose_records(machine, records, &pending);
  else if (!g_queue_is_empty(&machine->pending)) {
    const Pending *last = g_queue_peek_tail(&machine->pending);
    pending = g_new0(Pending, 1);
    *pending = (Pending){.index = last->index, .term = last->term};
    g_queue_push_tail(&machine->pending, pending);
  }
  if (pending)
    pending->change = *change;
  else
    end_change(machine, failure ? ANSWER_REFUSED : ANSWER_DONE, failure, change);
  node_work(node);
}

static Failure *begin_read(Machine *machine, const Request *request) {
  Failure *failure = raft_core_read(machine->node->core, machine->reads->len);
  if (failure)
    return failure;
  Read *waits = g_new(Read, 1);
  *waits = (Read){request->client, request->number, request->place};
  g_ptr_array_add(machine->reads, waits);
  return NULL;
}

void machine_request(Machine *machine, const Request *request) {
  Node *node = machine->node;
  machine_role_changed(machine);
  node->world->result->events++;
  Failure *failure;
  if (request->kind == REQUEST_READ)
    failure = begin_read(machine, request);
  else if (!machine->active_term)
    failure = failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one.");
  else
    failure = propose(machine, request);
  if (failure) {
    guint64 leader = raft_core_leader(node->core);
    answer(machine, request->client, (Answer){request->number, ANSWER_REFUSED, 0, leader == node->id ? 0 : leader});
    failure_free(failure);
  }
  node_work(node);
}

void machine_end_read(Machine *machine, const RaftRead *read) {
  Node *node = machine->node;
  Read *waits = read->context < machine->reads->len ? machine->reads->pdata[read->context] : NULL;
  if (!waits) {
    sim_violated(node->world->sim, "controller %d ends a read that nobody waits for", (int)node->id);
    return;
  }
  Answer what = {.number = waits->number, .kind = read->lost ? ANSWER_REFUSED : ANSWER_DONE};
  if (!read->lost && !commands_read(machine->image, waits->place, &what.value))
    sim_violated(node->world->sim, "controller %d answers a read, and the register is not there", (int)node->id);
  answer(machine, waits->client, what);
  g_clear_pointer(&machine->reads->pdata[read->context], g_free);
}

/* ---- Applying ---- */

/* The proposals that an entry ends: the own one, in its term; or another has taken its place. */
static void finish_pending(Machine *machine, const RaftEntry *entry) {
  const Pending *head;
  while ((head = g_queue_peek_head(&machine->pending)) && head->index <= entry->index) {
    if (head->index == entry->index && head->term == entry->term)
      end_pending(machine, ANSWER_DONE);
    else
      lose_pending(machine);
  }
}

static Failure *next_image(Machine *machine, const RaftEntry *entry, MetadataImage **ret_image) {
  const Pending *head = g_queue_peek_head(&machine->pending);
  if (head && head->index == entry->index && head->term == entry->term && head->result) {
    *ret_image = metadata_image_ref(head->result);
    return NULL;
  }
  gsize size;
  const void *data = g_bytes_get_data(entry->data, &size);
  g_autoptr(GPtrArray) records = NULL;
  Failure *failure = metadata_transaction_decode(data, size, &records);
  if (!failure)
    failure =
        metadata_image_apply(machine->image, (MetadataRecord **)records->pdata, records->len, entry->index, ret_image);
  return failure;
}

static void compare(Machine *machine) {
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(machine->image);
  rules_image_at(machine->node, metadata_image_version(machine->image), bytes);
}

static void tell_applied(Machine *machine, MetadataImage *image) {
  World *world = machine->node->world;
  if (!world->applied || metadata_image_version(image) <= world->applied_version)
    return;
  world->applied_version = metadata_image_version(image);
  world->applied(machine->image, image, world->applied_data);
}

void machine_apply(Machine *machine, const RaftEntry *entry) {
  rules_entry_applied(machine->node, entry);
  if (entry->kind == RAFT_ENTRY_KIND(METADATA)) {
    g_autoptr(MetadataImage) image = NULL;
    Failure *failure = next_image(machine, entry, &image);
    if (failure) {
      broken(machine, "applying an entry", failure);
      return;
    }
    tell_applied(machine, image);
    set_image(&machine->image, image);
    if (g_queue_is_empty(&machine->pending))
      set_image(&machine->tip, image);
    if (entry->index % COMPARE_EVERY == 0)
      compare(machine);
  }
  finish_pending(machine, entry);
}

void machine_restore(Machine *machine, const RaftInstall *install) {
  World *world = machine->node->world;
  world->result->restores++;
  world_tell(world, machine->node->id, "restores a snapshot up to %" G_GUINT64_FORMAT, install->meta.index);
  g_autoptr(MetadataImage) image = NULL;
  Failure *failure = open_snapshot(install->bytes, &image);
  if (failure) {
    broken(machine, "restoring a snapshot", failure);
    return;
  }
  set_image(&machine->image, image);
  lose_pending(machine);
  rules_snapshot_restored(machine->node, &install->meta);
  compare(machine);
}

void machine_role_changed(Machine *machine) {
  RaftCore *core = machine->node->core;
  guint64 term = raft_core_is_active(core) ? raft_core_term(core) : 0;
  if (term == machine->active_term)
    return;
  machine->active_term = term;
  lose_pending(machine);
  world_tell(machine->node->world, machine->node->id,
             term ? "is the active controller of term %" G_GUINT64_FORMAT
                  : "is not active any more%.0" G_GUINT64_FORMAT,
             term);
}

/* ---- Snapshots ---- */

static void compact(Node *node, gpointer data) {
  const RaftSnapshotMeta *meta = data;
  node->machine->snapshotting = FALSE;
  raft_core_compact(node->core, meta);
  node_work(node);
}

static void snapshot_done(const RaftSnapshotMeta *meta, gpointer data) {
  node_post(data, compact, g_memdup2(meta, sizeof *meta), g_free);
}

void machine_maybe_snapshot(Machine *machine) {
  Node *node = machine->node;
  World *world = node->world;
  guint64 applied = raft_core_applied_index(node->core);
  if (machine->snapshotting || applied + 1 < raft_core_first_index(node->core) + world->shape.snapshot_entries)
    return;
  if (raft_core_is_sending_snapshot(node->core) && !sim_chance(world->sim, 30))
    return;
  RaftSnapshotMeta meta;
  Failure *failure = raft_core_snapshot_meta(node->core, applied, &meta);
  if (failure) {
    broken(machine, "describing a snapshot", failure);
    return;
  }
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(machine->image);
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  meta.size_bytes = size;
  meta.crc32c = log_crc32c(data, size);
  machine->snapshotting = TRUE;
  world->result->snapshots++;
  store_put_snapshot(node->store, &meta, bytes, snapshot_done, node);
}
