/* The simulator's kernel: virtual time, one seed, and faults, for all pure parts of Milena.
 *
 * A simulation is single-threaded and has no clock: events are run in the order of their virtual times, and whatever is
 * decided by chance comes from one generator. So a seed is a whole run, and running it again is the same run.
 *
 *   network: what is sent is dropped, doubled, delayed and so reordered
 *   disk:    writes are carried out in groups and synced later; a crash loses what was not written, or not synced
 *
 * What is wrong is told with sim_violated: the run ends, and the seed replays it (README.md). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Sim Sim;

Sim *sim_new(guint64 seed);
/* Drops what is still scheduled. NULL is fine. */
void sim_free(Sim *sim);
/* Drop what is still scheduled: before what it holds goes. */
void sim_drop(Sim *sim);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sim, sim_free)

/* ---- time ---- */

typedef void (*SimFunc)(gpointer data);

gint64 sim_now_us(const Sim *sim);
/* Call @func with @data after so much virtual time, then @free (may be NULL), which is also called when it never runs.
 */
void sim_after(Sim *sim, gint64 delay_us, SimFunc func, gpointer data, GDestroyNotify free);
/* Run events until the virtual time, until none is left, or until a rule is broken. */
void sim_run_until(Sim *sim, gint64 until_us);

/* ---- chance ---- */

guint64 sim_random(Sim *sim);
/* From 0 to @bound - 1. */
guint32 sim_below(Sim *sim, guint32 bound);
/* From @low to @high. */
gint64 sim_between(Sim *sim, gint64 low, gint64 high);
gboolean sim_chance(Sim *sim, guint per_mille);

/* ---- rules ---- */

/* A rule was broken; the first one counts. */
void sim_violated(Sim *sim, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* What was broken, or NULL; borrowed. */
const char *sim_violation(const Sim *sim);

/* ---- the network ---- */

typedef struct {
  guint drop_per_mille, double_per_mille;
  gint64 delay_min_us, delay_max_us;
  guint late_per_mille; /* these take up to late_max_us instead: they overtake nothing, all overtakes them */
  gint64 late_max_us;
} SimNetFaults;

/* What becomes of one message: how many copies of it arrive, none to two, and each after how long. For messages that
 * are more than bytes; the others are sent with sim_send. */
guint sim_fates(Sim *sim, const SimNetFaults *faults, gint64 ret_delays_us[2]);
/* Send a copy of @message, of @len bytes, to @host: @deliver is called with it never, once or twice, later. */
void sim_send(Sim *sim, const SimNetFaults *faults, gconstpointer message, gsize len,
              void (*deliver)(gpointer host, gconstpointer message), gpointer host);

/* ---- a disk with one write-ahead log ---- */

typedef struct SimDisk SimDisk;

typedef enum {
  SIM_WRITTEN = 1, /* survives the end of the process */
  SIM_SYNCED = 2   /* survives a power cut */
} SimStage;

typedef enum {
  SIM_KILLED,   /* the process ended: what was written stays */
  SIM_POWER_CUT /* the machine ended: what was synced stays, and maybe some of what was written behind it */
} SimCrash;

/* @write_max_us, @sync_max_us: what a group of writes, and a sync, take at most
 * @free_record: of what is written */
SimDisk *sim_disk_new(Sim *sim, gint64 write_max_us, gint64 sync_max_us, GDestroyNotify free_record);
/* Before the sim goes. NULL is fine. */
void sim_disk_free(SimDisk *disk);
/* Append a record, which is taken; @done is called when it has reached the stage that is wanted, in the order of the
 * writes. */
void sim_disk_write(SimDisk *disk, gpointer record, SimStage wants, void (*done)(gpointer data), gpointer data);
/* No @done comes any more; what is lost is lost. */
void sim_disk_crash(SimDisk *disk, SimCrash crash);
/* The store closes in order: all is written and synced, at once; no @done comes any more. */
void sim_disk_settle(SimDisk *disk);
/* All that is on the disk, in order, or was submitted; borrowed. The first sim_disk_count of them reached @stage. */
const GPtrArray *sim_disk_records(const SimDisk *disk);
guint sim_disk_count(const SimDisk *disk, SimStage stage);

G_END_DECLS
