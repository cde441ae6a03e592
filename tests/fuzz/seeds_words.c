/* Seeds of text: small files, key files, words of the command line. */
#include <string.h>

#include "tests/fuzz/seeds.h"

static void words(const char *target, const char *name, const char *text) {
  Seed *seed = seed_new();
  seed_bytes(seed, text, strlen(text));
  seed_write(target, name, seed);
}

static void folders(void) {
  static const char *const TEXTS[][2] = {
      {"store", "[store]\nrole=broker-log\nformat=1\ncluster-id=c\nnode-id=1\n"},
      {"frontier", "[store]\nrole=broker-log\nformat=1\n[frontier]\nclean=true\nsequence=77\nsegment=3\n"},
      {"other-role", "[store]\nrole=controller\nformat=9\n"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
    Seed *seed = seed_new();
    seed_number(seed, 1, 1);
    seed_bytes(seed, TEXTS[i][1], strlen(TEXTS[i][1]));
    seed_write("folder", TEXTS[i][0], seed);
  }
}

static void settings(void) {
  static const char *const TEXTS[][3] = {
      {"file", "", "[broker]\ndata-dir=/srv/a\nid=7\ncreate=true\nmax-bytes=2MiB\nwait=1h\n"},
      {"flags", "--id\n3\n--max-bytes=4k\n--create", "# nothing\n"},
      {"unknown", "--colour\nblue", "[broker]\ncolour=blue\n[other]\nx=1\n"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
    Seed *seed = seed_new();
    seed_chunk(seed, TEXTS[i][1], strlen(TEXTS[i][1]));
    seed_bytes(seed, TEXTS[i][2], strlen(TEXTS[i][2]));
    seed_write("settings", TEXTS[i][0], seed);
  }
}

static void splitter(void) {
  Seed *seed = seed_new();
  seed_bytes(seed, "\0\n\x02\x40one\ntwo\n\nfour", 19);
  seed_write("splitter", "lines", seed);
  seed = seed_new();
  seed_bytes(seed, "\x01\r\n\0\x06short\r\nfar too long\r\n\rend\r", 34);
  seed_write("splitter", "crlf", seed);
}

static void templates(void) {
  static const char *const FORMATS[][2] = {
      {"letters", "%t %p@%o %T %e %k:%v %h %K %S %%\\n\\x00"}, {"json", "json"}, {"full", "full"}};
  for (guint i = 0; i < G_N_ELEMENTS(FORMATS); i++) {
    Seed *seed = seed_new();
    seed_chunk(seed, FORMATS[i][1], strlen(FORMATS[i][1]));
    seed_chunk(seed, "key", 3);
    seed_chunk(seed, "value\xff", 6);
    seed_chunk(seed, "trace", 5);
    seed_chunk(seed, "\x01", 1);
    seed_number(seed, 42, 8);
    seed_number(seed, 1700000000000, 8);
    seed_write("template", FORMATS[i][0], seed);
  }
}

static void key_rules(void) {
  Seed *seed = seed_new();
  seed_number(seed, 0, 1);
  seed_chunk(seed, "\\t", 2);
  seed_bytes(seed, "key\tvalue", 9);
  seed_write("key_rule", "delimiter", seed);
  seed = seed_new();
  seed_number(seed, 1, 1);
  seed_number(seed, 1, 1);
  seed_chunk(seed, "", 0);
  seed_bytes(seed, " one  two three", 15);
  seed_write("key_rule", "field", seed);
  seed = seed_new();
  seed_number(seed, 2, 1);
  seed_chunk(seed, "user=(\\w+)", 10);
  seed_bytes(seed, "GET user=ann HTTP", 17);
  seed_write("key_rule", "regex", seed);
}

void seeds_words(void) {
  folders();
  settings();
  splitter();
  templates();
  key_rules();
  words("text", "escapes", "a\\n\\x7f\\0\\\\b");
  words("text", "pair", "trace=on");
  words("text", "number", "123");
  words("text", "time", "2026-11-21T13:00:00Z");
  words("text", "ago", "-1h30m");
  words("text", "config", "max.message.bytes=2097152");
  words("text", "flush", "flush.ms=1500");
  words("text", "bytes", "\xff\x01\xc3\xa4");
}
