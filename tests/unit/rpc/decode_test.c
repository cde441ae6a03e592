/* The decoder: every kind of field, against protobuf-c's own packer and unpacker, and hostile bytes. */
#include <string.h>

#include "services/rpc/decode.h"
#include "services/rpc/message.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/kinds.pb-c.h"

#define KINDS (&milena__test__kinds__descriptor)

/* Decode bytes cut into pieces of @piece_bytes. Each piece is an allocation of its own, so ASan sees every step beyond.
 */
static Failure *decode_cut(gconstpointer data, gsize len, gsize piece_bytes, RpcMessage **ret_message) {
  g_autoptr(GPtrArray) pieces = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (gsize at = 0; at < len; at += piece_bytes)
    g_ptr_array_add(pieces, g_bytes_new((const guint8 *)data + at, MIN(piece_bytes, len - at)));
  g_ptr_array_add(pieces, g_bytes_new(NULL, 0));
  return rpc_message_decode(KINDS, (GBytes **)pieces->pdata, pieces->len, ret_message);
}

/* ---- All kinds ---- */

static Milena__Test__Kinds *full_message(void) {
  static int32_t i32s[] = {0, 1, -1, G_MAXINT32, G_MININT32, 300, 7};
  static int64_t s64s[] = {0, -1, G_MAXINT64, G_MININT64};
  static uint32_t f32s[] = {0, 1, G_MAXUINT32};
  static double reals[] = {0, -1.5, 1e300};
  static protobuf_c_boolean flags[] = {1, 0, 1};
  static Milena__Test__Colour colours[] = {MILENA__TEST__COLOUR__COLOUR_BLUE, MILENA__TEST__COLOUR__COLOUR_RED};
  static char *texts[] = {"", "one", "grün"};
  static ProtobufCBinaryData datas[] = {{0, NULL}, {3, (guint8 *)"a\0b"}};
  static int32_t loose[] = {5, 6};
  static Milena__Test__Kinds leaf, message, *children[9];
  milena__test__kinds__init(&leaf);
  leaf.text = "leaf";
  leaf.choice_case = MILENA__TEST__KINDS__CHOICE_CHOICE_DATA;
  leaf.choice_data = (ProtobufCBinaryData){2, (guint8 *)"\0\1"};
  for (guint i = 0; i < G_N_ELEMENTS(children); i++)
    children[i] = &leaf;
  milena__test__kinds__init(&message);
  message.i32 = G_MININT32;
  message.i64 = G_MININT64;
  message.u32 = G_MAXUINT32;
  message.u64 = G_MAXUINT64;
  message.s32 = G_MININT32;
  message.s64 = G_MININT64;
  message.f32 = 0xdeadbeef;
  message.f64 = 0xdeadbeefcafef00d;
  message.sf32 = -2;
  message.sf64 = -3;
  message.real = 1.5f;
  message.large_real = -2.25;
  message.flag = TRUE;
  message.colour = MILENA__TEST__COLOUR__COLOUR_BLUE;
  message.text = "text";
  message.data = (ProtobufCBinaryData){4, (guint8 *)"\0\1\2\3"};
  message.child = &leaf;
  message.n_i32s = G_N_ELEMENTS(i32s), message.i32s = i32s;
  message.n_s64s = G_N_ELEMENTS(s64s), message.s64s = s64s;
  message.n_f32s = G_N_ELEMENTS(f32s), message.f32s = f32s;
  message.n_reals = G_N_ELEMENTS(reals), message.reals = reals;
  message.n_flags = G_N_ELEMENTS(flags), message.flags = flags;
  message.n_colours = G_N_ELEMENTS(colours), message.colours = colours;
  message.n_texts = G_N_ELEMENTS(texts), message.texts = texts;
  message.n_datas = G_N_ELEMENTS(datas), message.datas = datas;
  message.n_children = G_N_ELEMENTS(children), message.children = children;
  message.n_loose = G_N_ELEMENTS(loose), message.loose = loose;
  message.choice_case = MILENA__TEST__KINDS__CHOICE_CHOICE_CHILD;
  message.choice_child = &leaf;
  return &message;
}

static const struct {
  const char *name;
  gsize piece_bytes;
} CUTS[] = {{"whole", 100000}, {"halves", 150}, {"by_seven", 7}, {"byte_by_byte", 1}};

/* What was decoded packs into the bytes that it came from: nothing was lost, whatever the pieces. */
TEST_ROWS(decode_all_kinds, CUTS) {
  const Milena__Test__Kinds *message = full_message();
  gsize len = milena__test__kinds__get_packed_size(message);
  g_autofree guint8 *wire = g_malloc(len);
  milena__test__kinds__pack(message, wire);
  g_autoptr(RpcMessage) decoded = NULL;
  g_autoptr(Failure) failure = decode_cut(wire, len, CUTS[row].piece_bytes, &decoded);
  ASSERT_NULL(failure);
  const Milena__Test__Kinds *body = rpc_message_body(decoded);
  EXPECT_EQ_INT(G_MININT64, body->s64);
  EXPECT_EQ_STR("grün", body->texts[2]);
  EXPECT_EQ_INT(9, body->n_children);
  EXPECT_EQ_STR("leaf", body->children[8]->text);
  EXPECT_EQ_INT(MILENA__TEST__KINDS__CHOICE_CHOICE_DATA, body->choice_child->choice_case);
  ASSERT_EQ_INT(len, milena__test__kinds__get_packed_size(body));
  g_autofree guint8 *again = g_malloc(len);
  milena__test__kinds__pack(body, again);
  EXPECT_EQ_BYTES(wire, len, again, len);
}

/* ---- Single cases: hex in, a note of the outcome out ---- */

static GBytes *from_hex(const char *hex) {
  GByteArray *bytes = g_byte_array_new();
  for (; *hex; hex++) {
    if (*hex == ' ')
      continue;
    guint8 byte = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);
    g_byte_array_append(bytes, &byte, 1);
    hex++;
  }
  return g_byte_array_free_to_bytes(bytes);
}

static const struct {
  const char *name, *hex;
  const char *error; /* part of the sentence; NULL: it decodes */
} CASES[] = {
    {"empty", "", NULL},
    {"number", "08 01", NULL},
    {"number_of_ten_bytes", "08 ff ff ff ff ff ff ff ff ff 01", NULL},
    {"number_of_eleven_bytes", "08 ff ff ff ff ff ff ff ff ff ff 01", "i32: a number has more than 10 bytes"},
    {"number_cut_off", "08 80", "i32: a number is cut off"},
    {"tag_cut_off", "80", "a number is cut off"},
    {"tag_alone", "08", "i32: a number is cut off"},
    {"field_number_zero", "00 00", "a number that is not allowed"},
    {"field_number_too_large", "80 80 80 80 10 00", "a number that is not allowed"},
    {"fixed32_cut_off", "3d 01 02 03", "f32: a number is cut off"},
    {"fixed64_cut_off", "41 01 02 03", "f64: a number is cut off"},
    {"text", "7a 03 61 62 63", NULL},
    {"text_longer_than_message", "7a 04 61 62 63", "text: it says that it is longer"},
    {"text_of_all_memory", "7a ff ff ff ff ff ff ff ff 7f 61", "text: it says that it is longer"},
    {"text_of_the_largest_length", "7a ff ff ff ff ff ff ff ff ff 01", "text: it says that it is longer"},
    {"text_not_utf8", "7a 02 c3 28", "text: text is not valid UTF-8"},
    {"text_overlong_utf8", "7a 02 c0 80", "text: text is not valid UTF-8"},
    {"text_with_nul", "7a 03 61 00 62", "text: text has a NUL character"},
    {"text_in_a_list", "da 01 01 61 da 01 01 ff", "texts[1]: text is not valid UTF-8"},
    {"text_in_a_child", "8a 01 02 7a 05", "child.text: it says that it is longer"},
    {"text_in_a_listed_child", "ea 01 00 ea 01 05 7a 03 61 00 62", "children[1].text: text has a NUL"},
    {"bytes_longer_than_message", "82 01 05 00", "data: it says that it is longer"},
    {"child_longer_than_message", "8a 01 03 08 01", "child: it says that it is longer"},
    {"child_reads_not_beyond_its_end", "8a 01 01 08 01", "child.i32: a number is cut off"},
    {"packed_cut_in_an_element", "aa 01 02 01 80", "i32s[1]: a number is cut off"},
    {"packed_fixed_of_odd_length", "ba 01 05 00 00 00 00 00", "f32s[1]: a number is cut off"},
    {"packed_as_loose", "a8 01 05 a8 01 06", NULL},
    {"loose_as_packed", "f2 01 02 05 06", NULL},
    {"unknown_number", "a0 06 05 08 01", NULL},
    {"unknown_bytes", "a2 06 03 61 62 63 08 01", NULL},
    {"unknown_bytes_too_long", "a2 06 04 61 62 63", "it says that it is longer"},
    {"unknown_fixed32", "a5 06 01 02 03 04 08 01", NULL},
    {"unknown_fixed64", "a1 06 01 02 03 04 05 06 07 08 08 01", NULL},
    {"unknown_group", "a3 06 08 01 a4 06 08 01", NULL},
    {"unknown_group_without_end", "a3 06 08 01", "a number is cut off"},
    {"unknown_group_wrong_end", "a3 06 ac 06", "a group ends that did not begin"},
    {"end_of_a_group_that_did_not_begin", "a4 06", "a wire type that is not allowed"},
    {"wire_type_six", "0e 01", "a wire type that is not allowed"},
    {"wire_type_seven", "0f 01", "a wire type that is not allowed"},
    {"known_field_of_another_wire_type", "0d 01 02 03 04 08 07", NULL},
    {"oneof_twice", "c0 02 05 ca 02 01 61", NULL},
    {"oneof_text_then_child", "ca 02 01 61 d2 02 02 08 01", NULL},
    {"oneof_child_then_number_then_child", "d2 02 02 08 01 c0 02 05 d2 02 02 10 01", NULL},
};

TEST_ROWS(decode_cases, CASES) {
  g_autoptr(GBytes) wire = from_hex(CASES[row].hex);
  gsize len;
  const guint8 *data = g_bytes_get_data(wire, &len);
  for (gsize piece_bytes = 1; piece_bytes <= 16; piece_bytes += 5) {
    g_autoptr(RpcMessage) message = NULL;
    g_autoptr(Failure) failure = decode_cut(data, len, piece_bytes, &message);
    if (!CASES[row].error) {
      EXPECT_NULL(failure);
      continue;
    }
    ASSERT_TRUE(failure != NULL);
    EXPECT_NULL(message);
    EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
    EXPECT_CONTAINS(failure_message(failure), CASES[row].error);
  }
}

/* ---- Meanings ---- */

static Milena__Test__Kinds *decode_hex(const char *hex, RpcMessage **ret_message) {
  g_autoptr(GBytes) wire = from_hex(hex);
  g_autoptr(Failure) failure = rpc_message_decode(KINDS, &wire, 1, ret_message);
  return failure ? NULL : rpc_message_body(*ret_message);
}

TEST(decode, a_message_that_comes_twice_is_merged) {
  g_autoptr(RpcMessage) message = NULL;
  const Milena__Test__Kinds *body = decode_hex("8a 01 02 08 05 8a 01 02 10 06", &message);
  ASSERT_TRUE(body != NULL);
  EXPECT_EQ_INT(5, body->child->i32);
  EXPECT_EQ_INT(6, body->child->i64);
}

TEST(decode, the_last_of_a_oneof_wins) {
  g_autoptr(RpcMessage) message = NULL;
  const Milena__Test__Kinds *body = decode_hex("d2 02 02 08 01 c0 02 05 d2 02 02 10 01", &message);
  ASSERT_TRUE(body != NULL);
  ASSERT_EQ_INT(MILENA__TEST__KINDS__CHOICE_CHOICE_CHILD, body->choice_case);
  EXPECT_EQ_INT(0, body->choice_child->i32);
  EXPECT_EQ_INT(1, body->choice_child->i64);
}

TEST(decode, presence_of_an_empty_value_is_kept) {
  g_autoptr(RpcMessage) message = NULL;
  const Milena__Test__Kinds *body = decode_hex("da 02 00", &message);
  ASSERT_TRUE(body != NULL);
  EXPECT_EQ_INT(MILENA__TEST__KINDS__CHOICE_CHOICE_DATA, body->choice_case);
  EXPECT_EQ_INT(0, body->choice_data.len);
}

TEST(decode, missing_fields_have_their_defaults) {
  g_autoptr(RpcMessage) message = NULL;
  const Milena__Test__Kinds *body = decode_hex("", &message);
  ASSERT_TRUE(body != NULL);
  EXPECT_EQ_STR("", body->text);
  EXPECT_NULL(body->child);
  EXPECT_EQ_INT(0, body->n_texts);
}

/* ---- Bounds ---- */

/* @depth children, each in the one before. */
static GBytes *nested(guint depth) {
  GByteArray *bytes = g_byte_array_new();
  for (guint i = 0; i < depth; i++) {
    guint8 head[4] = {0x8a, 0x01};
    guint len = bytes->len, head_len = 3;
    head[2] = len & 0x7f;
    if (len > 0x7f) {
      head[2] |= 0x80;
      head[3] = len >> 7;
      head_len = 4;
    }
    g_byte_array_prepend(bytes, head, head_len);
  }
  return g_byte_array_free_to_bytes(bytes);
}

TEST(decode, nesting_is_bounded) {
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(GBytes) deepest = nested(RPC_NESTING_MAX);
  g_autoptr(Failure) fits = rpc_message_decode(KINDS, &deepest, 1, &message);
  EXPECT_NULL(fits);
  g_autoptr(GBytes) too_deep = nested(RPC_NESTING_MAX + 1);
  g_autoptr(RpcMessage) none = NULL;
  g_autoptr(Failure) failure = rpc_message_decode(KINDS, &too_deep, 1, &none);
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "nested too deeply");
}

TEST(decode, nested_groups_are_bounded) {
  g_autofree guint8 *groups = g_malloc(100000);
  static const guint8 GROUP[2] = {0xa3, 0x06};
  for (gsize i = 0; i < 50000; i++)
    memcpy(groups + i * sizeof GROUP, GROUP, sizeof GROUP);
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) failure = decode_cut(groups, 100000, 4096, &message);
  EXPECT_CONTAINS(failure_message(failure), "nested too deeply");
}

/* Empty children take 3 bytes on the wire and some 400 in memory. */
TEST(decode, a_small_input_cannot_take_much_memory) {
  static const guint8 CHILD[3] = {0xea, 0x01, 0x00};
  gsize count = 1000000;
  g_autofree guint8 *wire = g_malloc(count * 3);
  for (gsize i = 0; i < count; i++)
    memcpy(wire + i * sizeof CHILD, CHILD, sizeof CHILD);
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) failure = decode_cut(wire, count * 3, 65536, &message);
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "far more memory");
}

/* Bytes at random, and a good message with bytes changed or cut at random: any outcome but a crash, and what decodes
 * packs again. The seed is fixed, so a failure comes again. */
TEST(decode, survives_what_comes) {
  const Milena__Test__Kinds *message = full_message();
  gsize len = milena__test__kinds__get_packed_size(message);
  g_autofree guint8 *good = g_malloc(len), *wire = g_malloc(len);
  milena__test__kinds__pack(message, good);
  g_autoptr(GRand) random = g_rand_new_with_seed(4711);
  guint decoded_count = 0;
  for (guint round = 0; round < 20000; round++) {
    memcpy(wire, good, len);
    gsize cut = g_rand_int_range(random, 0, len + 1);
    guint changes = g_rand_int_range(random, 0, 4);
    for (guint i = 0; i < changes; i++)
      wire[g_rand_int_range(random, 0, len)] = g_rand_int(random);
    g_autoptr(RpcMessage) decoded = NULL;
    g_autoptr(Failure) failure = decode_cut(wire, cut, g_rand_int_range(random, 1, 100), &decoded);
    if (failure)
      continue;
    decoded_count++;
    g_autofree guint8 *packed = g_malloc(protobuf_c_message_get_packed_size(rpc_message_body(decoded)) + 1);
    protobuf_c_message_pack(rpc_message_body(decoded), packed);
  }
  EXPECT_TRUE(decoded_count > 100);
}
