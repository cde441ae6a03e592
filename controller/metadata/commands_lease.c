/* Commands on leases: which coordinator has which partition of METADATA_GROUP_TOPIC. No state.
 *
 * Rules: a partition is leased to a coordinator that is registered and not fenced, or to nobody when there is none; the
 * coordinators' shares differ by one at most after each change of theirs, and only what that needs is moved; whenever
 * somebody gets a lease, its epoch rises, also when it is the same coordinator again. So an append names its owner. */
#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"

/* A coordinator that may hold leases. */
typedef struct {
  gint32 id;
  guint count;
} Holder;

/* The leases as they shall be. */
typedef struct {
  const MetadataImage *image;
  GArray *holders;   /* of Holder, by id */
  guint partitions;  /* of the topic */
  gint32 *owners;    /* by partition; -1: nobody */
  gboolean *granted; /* by partition: anew, so with another epoch */
} Plan;

static Holder *plan_holder(const Plan *plan, gint32 id) {
  for (guint i = 0; i < plan->holders->len; i++)
    if (g_array_index(plan->holders, Holder, i).id == id)
      return &g_array_index(plan->holders, Holder, i);
  return NULL;
}

static void plan_init(Plan *plan, const MetadataImage *image) {
  const MetadataTopic *topic = metadata_image_topic_by_name(image, METADATA_GROUP_TOPIC);
  guint partitions = topic ? topic->partition_count : 0;
  *plan = (Plan){
      .image = image,
      .holders = g_array_new(FALSE, FALSE, sizeof(Holder)),
      .partitions = partitions,
      .owners = g_new(gint32, partitions + 1),
      .granted = g_new0(gboolean, partitions + 1),
  };
  MetadataIter iter;
  metadata_iter_coordinators(&iter, image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));) {
    Holder holder = {.id = coordinator->id};
    if (!coordinator->fenced)
      g_array_append_val(plan->holders, holder);
  }
  for (guint i = 0; i < partitions; i++) {
    const MetadataLease *lease = metadata_image_lease(image, (gint32)i);
    Holder *holder = lease ? plan_holder(plan, lease->coordinator_id) : NULL;
    plan->owners[i] = holder ? holder->id : -1;
    if (holder)
      holder->count++;
  }
}

static void plan_clear(Plan *plan) {
  g_array_unref(plan->holders);
  g_free(plan->owners);
  g_free(plan->granted);
}

/* The one with the fewest but @not_id, or NULL. */
static Holder *plan_idlest(const Plan *plan, gint32 not_id) {
  Holder *idlest = NULL;
  for (guint i = 0; i < plan->holders->len; i++) {
    Holder *holder = &g_array_index(plan->holders, Holder, i);
    if (holder->id != not_id && (!idlest || holder->count < idlest->count))
      idlest = holder;
  }
  return idlest;
}

static Holder *plan_busiest(const Plan *plan) {
  Holder *busiest = NULL;
  for (guint i = 0; i < plan->holders->len; i++) {
    Holder *holder = &g_array_index(plan->holders, Holder, i);
    if (!busiest || holder->count > busiest->count)
      busiest = holder;
  }
  return busiest;
}

static void plan_grant(Plan *plan, guint partition, Holder *holder) {
  Holder *before = plan_holder(plan, plan->owners[partition]);
  if (before)
    before->count--;
  plan->owners[partition] = holder->id;
  plan->granted[partition] = TRUE;
  holder->count++;
}

/* The last partition of @holder goes to @to. */
static void plan_move_one(Plan *plan, const Holder *holder, Holder *to) {
  for (guint i = plan->partitions; i-- > 0;) {
    if (plan->owners[i] != holder->id)
      continue;
    plan_grant(plan, i, to);
    return;
  }
}

static void plan_balance(Plan *plan) {
  if (plan->holders->len == 0)
    return;
  for (guint i = 0; i < plan->partitions; i++)
    if (plan->owners[i] < 0)
      plan_grant(plan, i, plan_idlest(plan, -1));
  for (;;) {
    Holder *idlest = plan_idlest(plan, -1), *busiest = plan_busiest(plan);
    if (busiest->count - idlest->count <= 1)
      return;
    plan_move_one(plan, busiest, idlest);
  }
}

static void plan_write(const Plan *plan, GPtrArray *records) {
  for (guint i = 0; i < plan->partitions; i++) {
    const MetadataLease *lease = metadata_image_lease(plan->image, (gint32)i);
    guint32 epoch = lease ? lease->lease_epoch : 0;
    if (plan->granted[i])
      g_ptr_array_add(records, metadata_record_lease((gint32)i, plan->owners[i], epoch + 1));
    else if (lease && lease->coordinator_id != plan->owners[i])
      g_ptr_array_add(records, metadata_record_lease((gint32)i, -1, epoch));
  }
}

void metadata_command_balance_leases(const MetadataImage *image, GPtrArray *records) {
  Plan plan;
  plan_init(&plan, image);
  plan_balance(&plan);
  plan_write(&plan, records);
  plan_clear(&plan);
}

Failure *metadata_follow_leases(const MetadataImage *image, GPtrArray *records) {
  g_autoptr(MetadataImage) after = NULL;
  Failure *failure = metadata_image_apply(image, (MetadataRecord *const *)records->pdata, records->len,
                                          metadata_image_version(image), &after);
  if (!failure)
    metadata_command_balance_leases(after, records);
  return failure;
}

Failure *metadata_command_yield_leases(const MetadataImage *image,
                                       const Milena__Internal__V1__YieldLeasesRequest *request, GPtrArray *records) {
  const MetadataCoordinator *coordinator = metadata_image_coordinator(image, request->coordinator_id);
  if (!coordinator || coordinator->epoch != request->coordinator_epoch)
    return metadata_stale_epoch("coordinator", request->coordinator_id, request->coordinator_epoch,
                                coordinator ? coordinator->epoch : 0);
  Plan plan;
  plan_init(&plan, image);
  for (gsize i = 0; i < request->n_leases; i++) {
    const Milena__Internal__V1__YieldedLease *yielded = request->leases[i];
    const MetadataLease *lease = metadata_image_lease(image, yielded->partition);
    gboolean held = lease && (guint)yielded->partition < plan.partitions && !plan.granted[yielded->partition] &&
                    lease->coordinator_id == coordinator->id && lease->lease_epoch == yielded->lease_epoch;
    Holder *other = plan_idlest(&plan, coordinator->id), *same = plan_holder(&plan, coordinator->id);
    if (held && (other || same))
      plan_grant(&plan, (guint)yielded->partition, other ? other : same);
  }
  plan_write(&plan, records);
  plan_clear(&plan);
  return NULL;
}
