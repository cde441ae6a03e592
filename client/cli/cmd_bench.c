/* `milena bench produce|consume|latency`: options; the work is in bench_*.c. */
#include <string.h>

#include "client/cli/bench.h"
#include "client/cli/interrupt.h"
#include "client/cli/producer_words.h"

#define RECORD_BYTES_MAX (16 << 20)
#define TIMEOUT_S_MAX 86000

/* The options as they were given; not all benchmarks have all. */
typedef struct {
  char *topic, *from, *acks, *compression, *idempotent;
  gint64 records;
  gint record_bytes, partitions, producers, throughput, linger_ms, batch_bytes;
} Options;

static void options_clear(Options *options) {
  char *strings[] = {options->topic, options->from, options->acks, options->compression, options->idempotent};
  for (guint i = 0; i < G_N_ELEMENTS(strings); i++)
    g_free(strings[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static Failure *check_range(const char *option, gint64 value, gint64 least, gint64 most) {
  if (value >= least && value <= most)
    return NULL;
  return failure_new(FAILURE(INVALID_FIELD),
                     "%s is %" G_GINT64_FORMAT ", but must be from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT ".",
                     option, value, least, most);
}

static Failure *make_plan(const Cli *cli, const Options *options, gint64 records_least, BenchPlan *ret_plan) {
  const ProducerWords words = {
      .acks = options->acks, .compression = options->compression, .idempotent = options->idempotent};
  MilenaProducerOptions producer;
  milena_producer_options_init(&producer);
  Failure *failure = producer_words_apply(&words, &producer);
  if (!failure)
    failure = check_range("--records", options->records, records_least, G_MAXINT64 / 2);
  if (!failure)
    failure = check_range("--record-size", options->record_bytes, 8, RECORD_BYTES_MAX);
  if (!failure)
    failure = check_range("--partitions", options->partitions, 1, 10000);
  if (!failure)
    failure = check_range("--producers", options->producers, 1, 100);
  if (!failure)
    failure = check_range("--throughput", options->throughput, 0, G_MAXINT);
  if (!failure)
    failure = check_range("--linger", options->linger_ms, 0, 60000);
  if (!failure)
    failure = check_range("--batch-bytes", options->batch_bytes, 1024, 64 << 20);
  if (!failure)
    failure = check_range("--timeout", cli->timeout_s, 1, TIMEOUT_S_MAX);
  if (!failure && options->from && strcmp(options->from, "beginning") != 0 && strcmp(options->from, "end") != 0)
    failure = failure_new(FAILURE(INVALID_FIELD), "--from is '%s', but must be beginning or end.", options->from);
  producer.linger_ms = options->linger_ms;
  producer.batch_bytes = (guint32)options->batch_bytes;
  producer.timeout_ms = cli_timeout_ms(cli);
  producer.block_timeout_ms = producer.timeout_ms + 10000;
  *ret_plan = (BenchPlan){
      .topic = options->topic ? options->topic : "bench",
      .records = (guint64)options->records,
      .record_bytes = (guint32)options->record_bytes,
      .partitions = (guint32)options->partitions,
      .producers = (guint32)options->producers,
      .throughput = (guint64)options->throughput,
      .from_end = options->from && !strcmp(options->from, "end"),
      .producer = producer,
  };
  return failure;
}

static Options default_options(void) {
  return (Options){.record_bytes = 100, .partitions = 6, .producers = 1, .linger_ms = 5, .batch_bytes = 512 << 10};
}

/* Run one with the options that were read. */
static int run_bench(Cli *cli, const char *what, const Options *options, gint64 records_least,
                     int (*bench)(Cli *cli, const BenchPlan *plan, BenchResult *ret_result)) {
  BenchPlan plan;
  Failure *failure = make_plan(cli, options, records_least, &plan);
  if (failure)
    return cli_usage(cli, failure);
  g_auto(BenchResult) result = {0};
  int code = bench(cli, &plan, &result);
  if (!result.latency || (code != CLI_OK && result.records == 0))
    return code;
  int printed = bench_print(cli, what, &plan, &result);
  if (interrupt_signal())
    return 128 + interrupt_signal();
  if (code == CLI_OK && result.failed > 0)
    code = CLI_FAILED;
  return code == CLI_OK ? printed : code;
}

#define ENTRY_TOPIC                                                                                                    \
  { "topic", 't', 0, G_OPTION_ARG_FILENAME, &options.topic, "The topic (default bench)", "NAME" }
#define ENTRY_SIZE                                                                                                     \
  { "record-size", 's', 0, G_OPTION_ARG_INT, &options.record_bytes, "Bytes of a record's value (default 100)", "BYTES" }
#define ENTRY_PARTITIONS                                                                                               \
  {                                                                                                                    \
    "partitions", 'p', 0, G_OPTION_ARG_INT, &options.partitions,                                                       \
        "Partitions of the topic, when it is missing and created (default 6)", "N"                                     \
  }
#define ENTRY_ACKS                                                                                                     \
  {                                                                                                                    \
    "acks", 'a', 0, G_OPTION_ARG_FILENAME, &options.acks, "Answer wanted from: none, leader or all (default all)",     \
        "WORD"                                                                                                         \
  }
#define ENTRY_COMPRESSION                                                                                              \
  { "compression", 'z', 0, G_OPTION_ARG_FILENAME, &options.compression, "none (default), zstd or lz4", "CODEC" }
#define ENTRY_IDEMPOTENT                                                                                               \
  { "idempotent", 0, 0, G_OPTION_ARG_FILENAME, &options.idempotent, "true (default) or false", "WORD" }
#define ENTRY_THROUGHPUT                                                                                               \
  { "throughput", 0, 0, G_OPTION_ARG_INT, &options.throughput, "Records a second (default 0: as fast as it goes)", "N" }

/* ---- produce ---- */

static int run_produce(Cli *cli, int argc, char **argv) {
  g_auto(Options) options = default_options();
  options.records = 1000000;
  cli->timeout_s = 120;
  const GOptionEntry entries[] = {
      ENTRY_TOPIC,
      {"records", 'n', 0, G_OPTION_ARG_INT64, &options.records, "How many, of all producers (default 1000000)", "N"},
      ENTRY_SIZE,
      ENTRY_PARTITIONS,
      ENTRY_ACKS,
      ENTRY_COMPRESSION,
      ENTRY_IDEMPOTENT,
      {"producers", 0, 0, G_OPTION_ARG_INT, &options.producers, "Producers at once, each a client (default 1)", "N"},
      ENTRY_THROUGHPUT,
      {"linger", 0, 0, G_OPTION_ARG_INT, &options.linger_ms, "How long a batch waits for more (default 5)", "MS"},
      {"batch-bytes", 0, 0, G_OPTION_ARG_INT, &options.batch_bytes, "Size of a batch (default 524288)", "BYTES"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "The topic is created when it is missing. Latency is from a record's send (with --throughput: from when "
          "it is due)\nto its delivery report.\n",
          argc, argv, &code))
    return code;
  return run_bench(cli, "produce", &options, 1, bench_produce);
}

const Command CMD_BENCH_PRODUCE = {
    .name = "bench produce",
    .arguments = "",
    .summary = "Measure how fast records are written",
    .examples = "  milena bench produce\n"
                "  milena bench produce --record-size 1000 --records 2000000 --producers 2 --compression lz4\n"
                "  milena bench produce --throughput 5000 --linger 0 --records 50000 --output json\n",
    .run = run_produce,
};

/* ---- consume ---- */

static int run_consume(Cli *cli, int argc, char **argv) {
  g_auto(Options) options = default_options();
  const GOptionEntry entries[] = {
      ENTRY_TOPIC,
      {"records", 'n', 0, G_OPTION_ARG_INT64, &options.records, "How many (default: all that are there now)", "N"},
      {"from", 0, 0, G_OPTION_ARG_FILENAME, &options.from, "beginning (default) or end", "PLACE"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "From the end it reads what comes from now on, and tells each record's latency from its timestamp.\n"
                 "It gives up when nothing came for --timeout.\n",
                 argc, argv, &code))
    return code;
  if (options.from && !strcmp(options.from, "end") && options.records == 0)
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "--from end needs --records: it would never end."));
  return run_bench(cli, "consume", &options, 0, bench_consume);
}

const Command CMD_BENCH_CONSUME = {
    .name = "bench consume",
    .arguments = "",
    .summary = "Measure how fast records are read",
    .examples = "  milena bench consume\n"
                "  milena bench consume --topic orders --records 1000000\n"
                "  milena bench consume --from end --records 1000000 --output json\n",
    .run = run_consume,
};

/* ---- latency ---- */

static int run_latency(Cli *cli, int argc, char **argv) {
  g_auto(Options) options = default_options();
  options.records = 10000;
  options.linger_ms = 0;
  const GOptionEntry entries[] = {
      ENTRY_TOPIC,         {"records", 'n', 0, G_OPTION_ARG_INT64, &options.records, "How many (default 10000)", "N"},
      ENTRY_SIZE,          ENTRY_PARTITIONS,
      ENTRY_ACKS,          ENTRY_COMPRESSION,
      ENTRY_IDEMPOTENT,    ENTRY_THROUGHPUT,
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "One record at a time: the next one is sent when a consumer has the one before. Latency is from the "
                 "send to the poll.\n",
                 argc, argv, &code))
    return code;
  return run_bench(cli, "latency", &options, 1, bench_latency);
}

const Command CMD_BENCH_LATENCY = {
    .name = "bench latency",
    .arguments = "",
    .summary = "Measure how long a record takes from a producer to a consumer",
    .examples = "  milena bench latency\n"
                "  milena bench latency --records 1000 --acks leader --output json\n",
    .run = run_latency,
};
