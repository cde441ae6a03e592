/* The network between the controllers: what is sent is dropped, doubled, delayed and so reordered; links are cut one
 * way or both; chunks of snapshots may be damaged on a leader's disk. No state but the world's. */
#include "tests/sim/raft/node.h"

typedef struct {
  World *world;
  RaftMessage *message;
} Packet;

static void packet_free(gpointer data) {
  Packet *packet = data;
  raft_message_free(packet->message);
  g_free(packet);
}

static void packet_arrives(gpointer data) {
  const Packet *packet = data;
  node_deliver(packet->world->nodes[packet->message->to], packet->message);
}

static void damage(World *world, RaftMessage *message) {
  gsize size;
  const guint8 *bytes = g_bytes_get_data(message->chunk, &size);
  if (size == 0)
    return;
  guint8 *damaged = g_memdup2(bytes, size);
  damaged[sim_below(world->sim, (guint32)size)] ^= 0x10;
  g_bytes_unref(message->chunk);
  message->chunk = g_bytes_new_take(damaged, size);
}

void net_send(World *world, RaftMessage *message) {
  if (world->holds && world->holds(world, message)) {
    g_ptr_array_add(world->held, message);
    return;
  }
  const Node *from = world->nodes[message->from], *to = world->nodes[message->to];
  gint64 delays_us[2];
  guint copies = world->cut[from->id][to->id] ? 0 : sim_fates(world->sim, &world->faults, delays_us);
  if (message->chunk && !world->healing && sim_chance(world->sim, world->shape.corrupt_per_mille))
    damage(world, message);
  for (guint i = 0; i < copies; i++) {
    Packet *packet = g_new(Packet, 1);
    *packet = (Packet){world, raft_message_copy(message)};
    sim_after(world->sim, delays_us[i] + from->slow_us + to->slow_us, packet_arrives, packet, packet_free);
  }
  raft_message_free(message);
}
