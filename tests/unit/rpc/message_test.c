/* Messages as slices: packing shares large fields, decoding borrows them. */
#include <string.h>

#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/message_internal.h"
#include "tests/shim/shim.h"

#define REQUEST (&milena__v1__produce_request__descriptor)

/* A request of one batch, whose records are @data. */
static RpcMessage *pack_batch(const guint8 *data, gsize len, GBytes *const *owners, gsize owner_count) {
  Milena__V1__EncodedBatch batch = MILENA__V1__ENCODED_BATCH__INIT;
  batch.records = (ProtobufCBinaryData){.len = len, .data = (guint8 *)data};
  Milena__V1__PartitionBatch partition = MILENA__V1__PARTITION_BATCH__INIT;
  partition.topic = "orders";
  partition.batch = &batch;
  Milena__V1__PartitionBatch *batches[] = {&partition};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.n_batches = 1;
  request.batches = batches;
  request.no_proxy = TRUE; /* something after the shared part */
  return rpc_message_pack(&request.base, owners, owner_count);
}

static GBytes *large_bytes(gsize len) {
  guint8 *data = g_malloc(len);
  for (gsize i = 0; i < len; i++)
    data[i] = i * 31;
  return g_bytes_new_take(data, len);
}

TEST(message, packing_shares_what_lies_in_an_owner) {
  g_autoptr(GBytes) owner = large_bytes(100000);
  gsize len;
  const guint8 *data = g_bytes_get_data(owner, &len);
  g_autoptr(RpcMessage) message = pack_batch(data + 100, len - 200, &owner, 1);
  ASSERT_EQ_INT(3, message->piece_count);
  EXPECT_TRUE(g_bytes_get_data(message->pieces[1], NULL) == data + 100);
  EXPECT_EQ_INT(len - 200, g_bytes_get_size(message->pieces[1]));
  EXPECT_EQ_INT(g_bytes_get_size(message->pieces[0]) + len - 200 + g_bytes_get_size(message->pieces[2]),
                rpc_message_size(message));
}

TEST(message, packing_copies_what_lies_in_no_owner_or_is_short) {
  g_autoptr(GBytes) owner = large_bytes(100000);
  g_autoptr(GBytes) stranger = large_bytes(5000);
  g_autoptr(RpcMessage) foreign = pack_batch(g_bytes_get_data(stranger, NULL), 5000, &owner, 1);
  EXPECT_EQ_INT(1, foreign->piece_count);
  g_autoptr(RpcMessage) small = pack_batch(g_bytes_get_data(owner, NULL), RPC_SHARE_BYTES - 1, &owner, 1);
  EXPECT_EQ_INT(1, small->piece_count);
  g_autoptr(RpcMessage) beyond = pack_batch((const guint8 *)g_bytes_get_data(stranger, NULL) + 10, 2000, NULL, 7);
  EXPECT_EQ_INT(1, beyond->piece_count);
}

TEST(message, shared_and_copied_forms_are_the_same_bytes) {
  g_autoptr(GBytes) owner = large_bytes(3000);
  g_autoptr(RpcMessage) shared = pack_batch(g_bytes_get_data(owner, NULL), 3000, &owner, 1);
  g_autoptr(RpcMessage) copied = pack_batch(g_bytes_get_data(owner, NULL), 3000, NULL, 0);
  g_autoptr(GBytes) one = rpc_message_flatten(shared);
  g_autoptr(GBytes) other = rpc_message_flatten(copied);
  EXPECT_EQ_INT(3, shared->piece_count);
  EXPECT_TRUE(g_bytes_equal(one, other));
}

TEST(message, a_shared_field_outlives_its_message) {
  g_autoptr(GBytes) owner = large_bytes(3000);
  g_autoptr(RpcMessage) packed = pack_batch(g_bytes_get_data(owner, NULL), 3000, &owner, 1);
  RpcMessage *message = NULL;
  ASSERT_NULL(rpc_message_decode(REQUEST, packed->pieces, packed->piece_count, &message));
  const Milena__V1__ProduceRequest *body = rpc_message_body(message);
  const ProtobufCBinaryData *field = &body->batches[0]->batch->records;
  EXPECT_TRUE(field->data == g_bytes_get_data(owner, NULL)); /* borrowed from the piece, not copied */
  g_autoptr(GBytes) shared = rpc_message_share(message, field);
  rpc_message_unref(message);
  EXPECT_TRUE(g_bytes_get_data(shared, NULL) == g_bytes_get_data(owner, NULL));
  EXPECT_TRUE(g_bytes_equal(shared, owner));
}

TEST(message, a_field_in_several_pieces_is_gathered_once_and_shared) {
  g_autoptr(GBytes) owner = large_bytes(3000);
  g_autoptr(RpcMessage) packed = pack_batch(g_bytes_get_data(owner, NULL), 3000, NULL, 0);
  g_autoptr(GBytes) flat = rpc_message_flatten(packed);
  GBytes *halves[] = {g_bytes_new_from_bytes(flat, 0, 1000),
                      g_bytes_new_from_bytes(flat, 1000, g_bytes_get_size(flat) - 1000)};
  g_autoptr(RpcMessage) message = NULL;
  ASSERT_NULL(rpc_message_decode(REQUEST, halves, 2, &message));
  g_bytes_unref(halves[0]);
  g_bytes_unref(halves[1]);
  const Milena__V1__ProduceRequest *body = rpc_message_body(message);
  g_autoptr(GBytes) once = rpc_message_share(message, &body->batches[0]->batch->records);
  g_autoptr(GBytes) twice = rpc_message_share(message, &body->batches[0]->batch->records);
  EXPECT_TRUE(g_bytes_get_data(once, NULL) == g_bytes_get_data(twice, NULL));
  EXPECT_TRUE(g_bytes_equal(once, owner));
}

TEST(budget, is_charged_until_the_message_is_gone) {
  RpcBudget *budget = rpc_budget_new(5000);
  RpcMessage *message = pack_batch((const guint8 *)"abc", 3, NULL, 0);
  gsize size = rpc_message_size(message);
  EXPECT_TRUE(rpc_message_charge(message, budget));
  EXPECT_TRUE(rpc_message_charge(message, budget)); /* what grew since, which is nothing */
  EXPECT_EQ_INT(size, rpc_budget_used(budget));
  EXPECT_FALSE(rpc_budget_take(budget, 5001 - size));
  EXPECT_TRUE(rpc_budget_take(budget, 5000 - size));
  rpc_budget_give_back(budget, 5000 - size);
  rpc_message_unref(message);
  EXPECT_EQ_INT(0, rpc_budget_used(budget));
  rpc_budget_unref(budget);
}
