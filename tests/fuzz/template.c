/* Output formats of milena consume, applied to any record.
 *
 * Input: a chunk with the format, chunks with key, value, header name and header value, then offset and time. */
#include "tests/fuzz/fuzz.h"

#include "client/cli/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  g_autofree char *format = fuzz_text(&input);
  g_autoptr(Template) template = NULL;
  if (!fuzz_accepted(template_new(format, &template)))
    return 0;
  FuzzInput key = fuzz_chunk(&input), value = fuzz_chunk(&input);
  g_autofree char *name = fuzz_text(&input);
  FuzzInput header_value = fuzz_chunk(&input);
  MilenaHeader header = {name, {header_value.at, fuzz_left(&header_value)}};
  MilenaConsumedRecord record = {
      .offset = (gint64)fuzz_number(&input, 8),
      .timestamp_ms = (gint64)fuzz_number(&input, 8),
      .key = {fuzz_left(&key) ? key.at : NULL, fuzz_left(&key)},
      .value = {fuzz_left(&value) ? value.at : NULL, fuzz_left(&value)},
      .headers = &header,
      .header_count = 1,
  };
  g_autoptr(GString) out = g_string_new(NULL);
  template_apply(template, "orders", 3, &record, out);
  fuzz_touch(out->str, out->len);
  return 0;
}
