/* The decoder: see decode.h.
 *
 * One pass. A cursor walks the pieces; each message has a limit, the position at which it ends. A repeated field's
 * array doubles when its count reaches a power of two, so its capacity need not be kept. A message field that comes
 * twice is merged, as the format asks for.
 *
 * Invariants
 *   1. Every read is checked against the message's limit first, and limits only shrink: nothing is read beyond the
 * wire.
 *   2. The path names the field that is being read, so each failure says where.
 *   3. proto3 alone: a required field of proto2 that is missing stays as the type's init function left it.
 * Failure mode: MALFORMED_MESSAGE; the arena holds a half-built body that no one sees. */
#include "services/rpc/decode.h"

#include <string.h>

#include "services/base/invariant.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };
enum { VARINT_BYTES_MAX = 10, FIELD_NUMBER_MAX = (1 << 29) - 1, FIRST_CAPACITY = 4 };

typedef struct {
  const ProtobufCFieldDescriptor *field;
  gssize index; /* in a repeated field; else -1 */
} PathStep;

typedef struct {
  GBytes *const *pieces;
  gsize piece_count, next_piece;
  const guint8 *at, *piece_end; /* what is left of the current piece */
  gsize position;               /* bytes read, of all pieces */

  RpcArena *arena;
  GPtrArray **gathered;
  PathStep path[RPC_NESTING_MAX + 1];
  guint depth;
  Failure *failure;
} Decoder;

/* ---- Failures ---- */

static char *decoder_path(const Decoder *decoder) {
  GString *text = g_string_new(NULL);
  for (guint i = 0; i <= decoder->depth && i <= RPC_NESTING_MAX; i++) {
    const PathStep *step = &decoder->path[i];
    if (!step->field)
      break;
    g_string_append_printf(text, "%s%s", text->len ? "." : "", step->field->name);
    if (step->index >= 0)
      g_string_append_printf(text, "[%" G_GSSIZE_FORMAT "]", step->index);
  }
  return g_string_free(text, FALSE);
}

static gboolean decoder_fail(Decoder *decoder, const char *what) {
  g_autofree char *path = decoder_path(decoder);
  decoder->failure =
      failure_new(FAILURE(MALFORMED_MESSAGE), "the message can't be decoded: %s%s%s, at byte %" G_GSIZE_FORMAT, path,
                  *path ? ": " : "", what, decoder->position);
  if (*path)
    failure_add_violation(decoder->failure, path, what);
  return FALSE;
}

static gboolean decoder_fail_size(Decoder *decoder) {
  return decoder_fail(decoder, "it would take far more memory than it has bytes");
}

/* ---- The cursor ---- */

/* Go to the next piece that is not empty. There is one, or the limit would have been reached. */
static void cursor_next_piece(Decoder *decoder) {
  while (decoder->at == decoder->piece_end) {
    INVARIANT(decoder->next_piece < decoder->piece_count, "limits lie within the pieces");
    gsize size;
    decoder->at = g_bytes_get_data(decoder->pieces[decoder->next_piece++], &size);
    decoder->piece_end = decoder->at + size;
  }
}

/* Copy @len bytes, or skip them when @dest is NULL. The caller has checked them against the limit. */
static void cursor_copy(Decoder *decoder, guint8 *dest, gsize len) {
  while (len) {
    cursor_next_piece(decoder);
    gsize part = MIN(len, (gsize)(decoder->piece_end - decoder->at));
    if (dest) {
      memcpy(dest, decoder->at, part);
      dest += part;
    }
    decoder->at += part;
    decoder->position += part;
    len -= part;
  }
}

static gboolean cursor_varint_slow(Decoder *decoder, gsize limit, guint64 *ret_value) {
  guint64 value = 0;
  for (guint i = 0; i < VARINT_BYTES_MAX; i++) {
    if (decoder->position == limit)
      return decoder_fail(decoder, "a number is cut off");
    cursor_next_piece(decoder);
    guint8 byte = *decoder->at++;
    decoder->position++;
    value |= (guint64)(byte & 0x7f) << (7 * i);
    if (!(byte & 0x80)) {
      *ret_value = value;
      return TRUE;
    }
  }
  return decoder_fail(decoder, "a number has more than 10 bytes");
}

static gboolean cursor_varint(Decoder *decoder, gsize limit, guint64 *ret_value) {
  if (decoder->position < limit && decoder->at < decoder->piece_end && *decoder->at < 0x80) {
    *ret_value = *decoder->at++;
    decoder->position++;
    return TRUE;
  }
  return cursor_varint_slow(decoder, limit, ret_value);
}

static gboolean cursor_length(Decoder *decoder, gsize limit, gsize *ret_len) {
  guint64 len = 0;
  if (!cursor_varint(decoder, limit, &len))
    return FALSE;
  if (len > limit - decoder->position)
    return decoder_fail(decoder, "it says that it is longer than what holds it");
  *ret_len = len;
  return TRUE;
}

static gboolean cursor_fixed(Decoder *decoder, gsize limit, guint8 *dest, gsize len) {
  if (len > limit - decoder->position)
    return decoder_fail(decoder, "a number is cut off");
  cursor_copy(decoder, dest, len);
  return TRUE;
}

static gboolean cursor_tag(Decoder *decoder, gsize limit, guint32 *ret_number, guint *ret_wire) {
  guint64 tag = 0;
  if (!cursor_varint(decoder, limit, &tag))
    return FALSE;
  if (tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
    return decoder_fail(decoder, "a field has a number that is not allowed");
  *ret_number = tag >> 3;
  *ret_wire = tag & 7;
  return TRUE;
}

/* ---- Fields that are not known ---- */

static gboolean skip_value(Decoder *decoder, guint32 number, guint wire, gsize limit, guint depth);

static gboolean skip_group(Decoder *decoder, guint32 number, gsize limit, guint depth) {
  if (depth >= RPC_NESTING_MAX)
    return decoder_fail(decoder, "it is nested too deeply");
  for (;;) {
    guint32 inner_number = 0;
    guint inner_wire = 0;
    if (!cursor_tag(decoder, limit, &inner_number, &inner_wire))
      return FALSE;
    if (inner_wire == WIRE_GROUP_END)
      return inner_number == number || decoder_fail(decoder, "a group ends that did not begin");
    if (!skip_value(decoder, inner_number, inner_wire, limit, depth + 1))
      return FALSE;
  }
}

static gboolean skip_value(Decoder *decoder, guint32 number, guint wire, gsize limit, guint depth) {
  guint64 ignored = 0;
  gsize len = 0;
  switch (wire) {
  case WIRE_VARINT:
    return cursor_varint(decoder, limit, &ignored);
  case WIRE_FIXED64:
    return cursor_fixed(decoder, limit, NULL, 8);
  case WIRE_FIXED32:
    return cursor_fixed(decoder, limit, NULL, 4);
  case WIRE_BYTES:
    if (!cursor_length(decoder, limit, &len))
      return FALSE;
    cursor_copy(decoder, NULL, len);
    return TRUE;
  case WIRE_GROUP:
    return skip_group(decoder, number, limit, depth);
  default:
    return decoder_fail(decoder, "a field has a wire type that is not allowed");
  }
}

/* ---- Values ---- */

static guint wire_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return WIRE_BYTES;
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT:
    return WIRE_FIXED32;
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE:
    return WIRE_FIXED64;
  default:
    return WIRE_VARINT;
  }
}

static gsize element_bytes(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_MESSAGE:
    return sizeof(gpointer);
  case PROTOBUF_C_TYPE_BYTES:
    return sizeof(ProtobufCBinaryData);
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
  case PROTOBUF_C_TYPE_SINT64:
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE:
    return 8;
  default:
    return 4; /* protobuf-c's boolean and enums too: checked below */
  }
}
_Static_assert(sizeof(protobuf_c_boolean) == 4 && sizeof(int) == 4, "element_bytes relies on it");

static gboolean read_string(Decoder *decoder, gsize limit, char **ret_text) {
  gsize len = 0;
  if (!cursor_length(decoder, limit, &len))
    return FALSE;
  char *text = rpc_arena_alloc(decoder->arena, len + 1);
  if (!text)
    return decoder_fail_size(decoder);
  cursor_copy(decoder, (guint8 *)text, len);
  if (memchr(text, 0, len))
    return decoder_fail(decoder, "text has a NUL character");
  if (!g_utf8_validate(text, len, NULL))
    return decoder_fail(decoder, "text is not valid UTF-8");
  *ret_text = text;
  return TRUE;
}

/* Gather a field that lies in several pieces, so that it is contiguous and can be shared. */
static guint8 *gather(Decoder *decoder, gsize len) {
  guint8 *data = g_malloc(len);
  cursor_copy(decoder, data, len);
  if (!*decoder->gathered)
    *decoder->gathered = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_ptr_array_add(*decoder->gathered, g_bytes_new_take(data, len));
  return data;
}

static gboolean read_bytes(Decoder *decoder, gsize limit, ProtobufCBinaryData *ret_bytes) {
  gsize len = 0;
  if (!cursor_length(decoder, limit, &len))
    return FALSE;
  ProtobufCBinaryData bytes = {.len = len};
  if (len) {
    cursor_next_piece(decoder);
    if (len <= (gsize)(decoder->piece_end - decoder->at)) {
      bytes.data = (guint8 *)decoder->at; /* protobuf-c's type lacks the const; bodies are read-only */
      decoder->at += len;
      decoder->position += len;
    } else {
      bytes.data = gather(decoder, len);
    }
  }
  *ret_bytes = bytes;
  return TRUE;
}

static gint64 unzigzag(guint64 value) {
  return (gint64)(value >> 1) ^ -(gint64)(value & 1);
}

static gboolean read_varint_value(Decoder *decoder, ProtobufCType type, gsize limit, gpointer member) {
  guint64 value = 0;
  if (!cursor_varint(decoder, limit, &value))
    return FALSE;
  switch (type) {
  case PROTOBUF_C_TYPE_SINT32:
    *(gint32 *)member = (gint32)unzigzag((guint32)value);
    return TRUE;
  case PROTOBUF_C_TYPE_SINT64:
    *(gint64 *)member = unzigzag(value);
    return TRUE;
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
    *(guint64 *)member = value;
    return TRUE;
  case PROTOBUF_C_TYPE_BOOL:
    *(protobuf_c_boolean *)member = value != 0;
    return TRUE;
  default: /* INT32, UINT32, ENUM: longer numbers are cut, as the format says */
    *(guint32 *)member = (guint32)value;
    return TRUE;
  }
}

static gboolean read_message(Decoder *decoder, const ProtobufCMessageDescriptor *type, ProtobufCMessage *message,
                             gsize limit);

/* @existing: the message that is there already, to be merged into, or NULL */
static gboolean read_submessage(Decoder *decoder, const ProtobufCMessageDescriptor *type, gsize limit,
                                ProtobufCMessage *existing, ProtobufCMessage **ret_message) {
  gsize len = 0;
  if (!cursor_length(decoder, limit, &len))
    return FALSE;
  if (decoder->depth >= RPC_NESTING_MAX)
    return decoder_fail(decoder, "it is nested too deeply");
  ProtobufCMessage *message = existing;
  if (!message) {
    message = rpc_arena_alloc(decoder->arena, type->sizeof_message);
    if (!message)
      return decoder_fail_size(decoder);
    protobuf_c_message_init(type, message);
  }
  decoder->depth++;
  decoder->path[decoder->depth] = (PathStep){.index = -1};
  gboolean ok = read_message(decoder, type, message, decoder->position + len);
  if (ok)
    decoder->depth--;
  *ret_message = message;
  return ok;
}

/* One value of @field into @member. @is_set: @member holds a value of this field already. */
static gboolean read_value(Decoder *decoder, const ProtobufCFieldDescriptor *field, gsize limit, gpointer member,
                           gboolean is_set) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
    return read_string(decoder, limit, member);
  case PROTOBUF_C_TYPE_BYTES:
    return read_bytes(decoder, limit, member);
  case PROTOBUF_C_TYPE_MESSAGE:
    return read_submessage(decoder, field->descriptor, limit, is_set ? *(ProtobufCMessage **)member : NULL, member);
  default:
    break;
  }
  guint wire = wire_of(field->type);
  if (wire == WIRE_VARINT)
    return read_varint_value(decoder, field->type, limit, member);
  _Static_assert(G_BYTE_ORDER == G_LITTLE_ENDIAN, "fixed numbers are copied as they are");
  return cursor_fixed(decoder, limit, member, wire == WIRE_FIXED64 ? 8 : 4);
}

/* ---- Fields ---- */

/* Room for one more element of a repeated field, or NULL at the arena's bound. Its count is raised by the caller. */
static gpointer repeated_slot(Decoder *decoder, const ProtobufCFieldDescriptor *field, guint8 *message) {
  gsize count = *(size_t *)(message + field->quantifier_offset);
  guint8 **elements = (guint8 **)(message + field->offset);
  gsize element = element_bytes(field->type);
  gboolean is_full = count == 0 || (count >= FIRST_CAPACITY && (count & (count - 1)) == 0);
  if (is_full) {
    gsize capacity = MAX(count * 2, FIRST_CAPACITY);
    guint8 *grown = rpc_arena_grow(decoder->arena, *elements, count * element, capacity * element);
    if (!grown)
      return NULL;
    *elements = grown;
  }
  return *elements + count * element;
}

static gboolean read_repeated(Decoder *decoder, const ProtobufCFieldDescriptor *field, guint8 *message, gsize limit) {
  size_t *count = (size_t *)(message + field->quantifier_offset);
  decoder->path[decoder->depth].index = *count;
  gpointer slot = repeated_slot(decoder, field, message);
  if (!slot)
    return decoder_fail_size(decoder);
  if (!read_value(decoder, field, limit, slot, FALSE))
    return FALSE;
  ++*count;
  return TRUE;
}

static gboolean read_packed(Decoder *decoder, const ProtobufCFieldDescriptor *field, guint8 *message, gsize limit) {
  gsize len = 0;
  if (!cursor_length(decoder, limit, &len))
    return FALSE;
  gsize end = decoder->position + len;
  while (decoder->position < end) {
    if (!read_repeated(decoder, field, message, end))
      return FALSE;
  }
  return TRUE;
}

static gboolean read_single(Decoder *decoder, const ProtobufCFieldDescriptor *field, guint8 *message, gsize limit) {
  gpointer member = message + field->offset;
  if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
    if (!read_value(decoder, field, limit, member, TRUE))
      return FALSE;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset)
      *(protobuf_c_boolean *)(message + field->quantifier_offset) = TRUE;
    return TRUE;
  }
  guint32 *which = (guint32 *)(message + field->quantifier_offset);
  if (!read_value(decoder, field, limit, member, *which == field->id))
    return FALSE;
  *which = field->id;
  return TRUE;
}

static gboolean read_field(Decoder *decoder, const ProtobufCFieldDescriptor *field, guint32 number, guint wire,
                           guint8 *message, gsize limit) {
  if (!field)
    return skip_value(decoder, number, wire, limit, decoder->depth);
  guint expected = wire_of(field->type);
  gboolean is_repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
  if (wire == expected)
    return is_repeated ? read_repeated(decoder, field, message, limit) : read_single(decoder, field, message, limit);
  if (is_repeated && wire == WIRE_BYTES)
    return read_packed(decoder, field, message, limit);
  return skip_value(decoder, number, wire, limit, decoder->depth);
}

static gboolean read_message(Decoder *decoder, const ProtobufCMessageDescriptor *type, ProtobufCMessage *message,
                             gsize limit) {
  while (decoder->position < limit) {
    decoder->path[decoder->depth] = (PathStep){.index = -1};
    guint32 number = 0;
    guint wire = 0;
    if (!cursor_tag(decoder, limit, &number, &wire))
      return FALSE;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
    decoder->path[decoder->depth].field = field;
    if (!read_field(decoder, field, number, wire, (guint8 *)message, limit))
      return FALSE;
  }
  return TRUE;
}

Failure *rpc_decode(const ProtobufCMessageDescriptor *type, GBytes *const *pieces, gsize piece_count, RpcArena *arena,
                    GPtrArray **gathered, gpointer *ret_body) {
  gsize size = 0;
  for (gsize i = 0; i < piece_count; i++)
    size += g_bytes_get_size(pieces[i]);
  gsize most = size > RPC_ARENA_MOST_BYTES / RPC_ARENA_PER_WIRE_BYTE
                   ? RPC_ARENA_MOST_BYTES
                   : RPC_ARENA_BASE_BYTES + size * RPC_ARENA_PER_WIRE_BYTE;
  rpc_arena_init(arena, MIN(most, RPC_ARENA_MOST_BYTES));
  Decoder decoder = {.pieces = pieces, .piece_count = piece_count, .arena = arena, .gathered = gathered};
  ProtobufCMessage *body = rpc_arena_alloc(arena, type->sizeof_message);
  INVARIANT(body, "the arena's bound leaves room for any one struct");
  protobuf_c_message_init(type, body);
  if (!read_message(&decoder, type, body, size))
    return decoder.failure;
  *ret_body = body;
  return NULL;
}
