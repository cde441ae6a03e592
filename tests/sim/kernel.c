/* See kernel.h.
 *
 * Invariants: virtual time never goes back; events of one time run in the order in which they were scheduled; nothing
 * but the seed decides. Single-threaded. */
#include "tests/sim/kernel.h"

#include <stdarg.h>

#include "services/base/invariant.h"

typedef struct {
  gint64 at_us;
  guint64 order;
  SimFunc func;
  gpointer data;
  GDestroyNotify free;
} Event;

struct Sim {
  gint64 now_us;
  guint64 next_order;
  guint64 state;  /* of the generator */
  GArray *events; /* of Event: a heap, the next one at 0 */
  char *violation;
};

/* ---- time ---- */

static gboolean is_before(const Event *a, const Event *b) {
  return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(GArray *heap, Event event) {
  g_array_set_size(heap, heap->len + 1);
  Event *events = (Event *)(gpointer)heap->data;
  guint place = heap->len - 1;
  for (; place > 0 && is_before(&event, &events[(place - 1) / 2]); place = (place - 1) / 2)
    events[place] = events[(place - 1) / 2];
  events[place] = event;
}

static Event heap_pop(GArray *heap) {
  Event *events = (Event *)(gpointer)heap->data;
  Event first = events[0], last = events[heap->len - 1];
  guint count = heap->len - 1, place = 0;
  for (guint child = 1; child < count; child = 2 * place + 1) {
    if (child + 1 < count && is_before(&events[child + 1], &events[child]))
      child++;
    if (!is_before(&events[child], &last))
      break;
    events[place] = events[child];
    place = child;
  }
  events[place] = last;
  g_array_set_size(heap, count);
  return first;
}

Sim *sim_new(guint64 seed) {
  Sim *sim = g_new0(Sim, 1);
  sim->state = seed;
  sim->events = g_array_new(FALSE, FALSE, sizeof(Event));
  return sim;
}

void sim_drop(Sim *sim) {
  for (guint i = 0; i < sim->events->len; i++) {
    const Event *event = &g_array_index(sim->events, Event, i);
    if (event->free)
      event->free(event->data);
  }
  g_array_set_size(sim->events, 0);
}

void sim_free(Sim *sim) {
  if (!sim)
    return;
  sim_drop(sim);
  g_array_unref(sim->events);
  g_free(sim->violation);
  g_free(sim);
}

gint64 sim_now_us(const Sim *sim) {
  return sim->now_us;
}

void sim_after(Sim *sim, gint64 delay_us, SimFunc func, gpointer data, GDestroyNotify free) {
  INVARIANT(delay_us >= 0, "nothing happens in the past");
  heap_push(sim->events, (Event){sim->now_us + delay_us, sim->next_order++, func, data, free});
}

void sim_run_until(Sim *sim, gint64 until_us) {
  while (!sim->violation && sim->events->len > 0 && g_array_index(sim->events, Event, 0).at_us <= until_us) {
    Event event = heap_pop(sim->events);
    sim->now_us = event.at_us;
    event.func(event.data);
    if (event.free)
      event.free(event.data);
  }
  sim->now_us = MAX(sim->now_us, until_us);
}

/* ---- chance ---- */

/* SplitMix64: every seed is a good one, also 0, 1, 2. */
guint64 sim_random(Sim *sim) {
  guint64 x = sim->state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

guint32 sim_below(Sim *sim, guint32 bound) {
  return (guint32)(sim_random(sim) % bound);
}

gint64 sim_between(Sim *sim, gint64 low, gint64 high) {
  INVARIANT(low <= high, "a range is not empty");
  return low + (gint64)(sim_random(sim) % (guint64)(high - low + 1));
}

gboolean sim_chance(Sim *sim, guint per_mille) {
  return sim_below(sim, 1000) < per_mille;
}

/* ---- rules ---- */

void sim_violated(Sim *sim, const char *format, ...) {
  if (sim->violation)
    return;
  va_list args;
  va_start(args, format);
  g_autofree char *what = g_strdup_vprintf(format, args);
  va_end(args);
  sim->violation = g_strdup_printf("at %" G_GINT64_FORMAT " us: %s", sim->now_us, what);
}

const char *sim_violation(const Sim *sim) {
  return sim->violation;
}

/* ---- the network ---- */

guint sim_fates(Sim *sim, const SimNetFaults *faults, gint64 ret_delays_us[2]) {
  guint copies = sim_chance(sim, faults->drop_per_mille) ? 0 : sim_chance(sim, faults->double_per_mille) ? 2 : 1;
  for (guint i = 0; i < copies; i++) {
    ret_delays_us[i] = sim_between(sim, faults->delay_min_us, faults->delay_max_us);
    if (sim_chance(sim, faults->late_per_mille))
      ret_delays_us[i] = sim_between(sim, faults->delay_max_us, MAX(faults->delay_max_us, faults->late_max_us));
  }
  return copies;
}

typedef struct {
  void (*deliver)(gpointer host, gconstpointer message);
  gpointer host;
  gpointer message; /* a copy */
} Packet;

static void packet_free(gpointer data) {
  Packet *packet = data;
  g_free(packet->message);
  g_free(packet);
}

static void packet_arrive(gpointer data) {
  const Packet *packet = data;
  packet->deliver(packet->host, packet->message);
}

void sim_send(Sim *sim, const SimNetFaults *faults, gconstpointer message, gsize len,
              void (*deliver)(gpointer host, gconstpointer message), gpointer host) {
  gint64 delays_us[2];
  guint copies = sim_fates(sim, faults, delays_us);
  for (guint i = 0; i < copies; i++) {
    Packet *packet = g_new(Packet, 1);
    *packet = (Packet){deliver, host, g_memdup2(message, len)};
    sim_after(sim, delays_us[i], packet_arrive, packet, packet_free);
  }
}

/* ---- the disk ---- */

typedef struct {
  SimStage wants;
  void (*done)(gpointer data);
  gpointer data;
} Waiter;

struct SimDisk {
  Sim *sim;
  gint64 write_max_us, sync_max_us;
  GPtrArray *records;
  GArray *waiters; /* of Waiter: of each record */
  guint written, synced;
  guint incarnation; /* what was begun before a crash ends nowhere */
  gboolean writing, syncing;
};

/* One group of writes, or one sync, under way. */
typedef struct {
  SimDisk *disk;
  guint incarnation;
  guint end; /* covers the records before this one */
} Flush;

SimDisk *sim_disk_new(Sim *sim, gint64 write_max_us, gint64 sync_max_us, GDestroyNotify free_record) {
  SimDisk *disk = g_new0(SimDisk, 1);
  *disk = (SimDisk){.sim = sim, .write_max_us = write_max_us, .sync_max_us = sync_max_us};
  disk->records = g_ptr_array_new_with_free_func(free_record);
  disk->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
  return disk;
}

void sim_disk_free(SimDisk *disk) {
  if (!disk)
    return;
  g_ptr_array_unref(disk->records);
  g_array_unref(disk->waiters);
  g_free(disk);
}

static void tell(SimDisk *disk, guint from, guint to, SimStage stage, guint incarnation) {
  for (guint i = from; i < to && disk->incarnation == incarnation; i++) {
    Waiter waiter = g_array_index(disk->waiters, Waiter, i);
    if (waiter.wants == stage)
      waiter.done(waiter.data);
  }
}

static void pump(SimDisk *disk);

static void write_ends(gpointer data) {
  const Flush *flush = data;
  SimDisk *disk = flush->disk;
  if (disk->incarnation != flush->incarnation)
    return;
  guint from = disk->written;
  disk->written = flush->end;
  disk->writing = FALSE;
  tell(disk, from, flush->end, SIM_WRITTEN, flush->incarnation);
  pump(disk);
}

static void sync_ends(gpointer data) {
  const Flush *flush = data;
  SimDisk *disk = flush->disk;
  if (disk->incarnation != flush->incarnation)
    return;
  guint from = disk->synced;
  disk->synced = flush->end;
  disk->syncing = FALSE;
  tell(disk, from, flush->end, SIM_SYNCED, flush->incarnation);
  pump(disk);
}

static void begin(SimDisk *disk, gint64 max_us, guint end, SimFunc ends) {
  Flush *flush = g_new(Flush, 1);
  *flush = (Flush){disk, disk->incarnation, end};
  sim_after(disk->sim, sim_between(disk->sim, 1, max_us), ends, flush, g_free);
}

/* Write all that waits, and sync all that is written: one of each at a time, as the two threads of the store do. */
static void pump(SimDisk *disk) {
  if (!disk->writing && disk->written < disk->records->len) {
    disk->writing = TRUE;
    begin(disk, disk->write_max_us, disk->records->len, write_ends);
  }
  if (!disk->syncing && disk->synced < disk->written) {
    disk->syncing = TRUE;
    begin(disk, disk->sync_max_us, disk->written, sync_ends);
  }
}

void sim_disk_write(SimDisk *disk, gpointer record, SimStage wants, void (*done)(gpointer data), gpointer data) {
  Waiter waiter = {wants, done, data};
  g_ptr_array_add(disk->records, record);
  g_array_append_val(disk->waiters, waiter);
  pump(disk);
}

void sim_disk_crash(SimDisk *disk, SimCrash crash) {
  /* A group of writes is all there or not at all, but those of a group that was on its way may have arrived. */
  guint end = crash == SIM_KILLED ? disk->written : (guint)sim_between(disk->sim, disk->synced, disk->written);
  if (crash == SIM_KILLED && disk->writing && sim_chance(disk->sim, 500))
    end = disk->records->len;
  g_ptr_array_set_size(disk->records, (gint)end);
  g_array_set_size(disk->waiters, end);
  disk->written = end;
  disk->synced = end; /* who opens the store syncs it before anything else */
  disk->writing = disk->syncing = FALSE;
  disk->incarnation++;
}

void sim_disk_settle(SimDisk *disk) {
  disk->written = disk->synced = disk->records->len;
  disk->writing = disk->syncing = FALSE;
  disk->incarnation++;
}

const GPtrArray *sim_disk_records(const SimDisk *disk) {
  return disk->records;
}

guint sim_disk_count(const SimDisk *disk, SimStage stage) {
  return stage == SIM_SYNCED ? disk->synced : disk->written;
}
