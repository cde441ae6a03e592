/* Credits: see credit.h. */
#include "services/broker/read/credit.h"

static guint64 add(guint64 a, guint64 b) {
  return a > G_MAXUINT64 - b ? G_MAXUINT64 : a + b;
}

static guint64 subtract(guint64 a, guint64 b) {
  return a > b ? a - b : 0;
}

void read_credit_add(ReadCredit *credit, guint64 records, guint64 bytes) {
  credit->by_records |= records > 0;
  credit->by_bytes |= bytes > 0;
  credit->records = add(credit->records, records);
  credit->bytes = add(credit->bytes, bytes);
}

gboolean read_credit_is_open(const ReadCredit *credit) {
  if (!credit->metered)
    return TRUE;
  if (!credit->by_records && !credit->by_bytes)
    return FALSE;
  return read_credit_records(credit) > 0 && read_credit_bytes(credit) > 0;
}

guint64 read_credit_records(const ReadCredit *credit) {
  return credit->metered && credit->by_records ? credit->records : G_MAXUINT64;
}

guint64 read_credit_bytes(const ReadCredit *credit) {
  return credit->metered && credit->by_bytes ? credit->bytes : G_MAXUINT64;
}

void read_credit_take(ReadCredit *credit, guint64 records, guint64 bytes) {
  credit->records = subtract(credit->records, records);
  credit->bytes = subtract(credit->bytes, bytes);
}
