/* The list of all commands, in the order of `milena help`. */
#include "client/cli/cli.h"

const Command *const *cli_commands(void) {
  static const Command *const COMMANDS[] = {
      &CMD_LOCAL_UP,
      &CMD_LOCAL_STATUS,
      &CMD_LOCAL_DOWN,
      &CMD_LOCAL_STOP,
      &CMD_LOCAL_START,
      &CMD_TOPICS_CREATE,
      &CMD_TOPICS_LIST,
      &CMD_TOPICS_DESCRIBE,
      &CMD_TOPICS_ALTER,
      &CMD_TOPICS_DELETE,
      &CMD_PRODUCE,
      &CMD_CONSUME,
      &CMD_CLUSTER_DESCRIBE,
      &CMD_BROKERS_LIST,
      &CMD_BROKERS_DESCRIBE,
      &CMD_BROKERS_DRAIN,
      &CMD_BROKERS_UNDRAIN,
      &CMD_PARTITIONS_STATUS,
      &CMD_PARTITIONS_REASSIGN,
      &CMD_PARTITIONS_CANCEL,
      &CMD_PARTITIONS_ELECT,
      &CMD_CONTROLLERS_LIST,
      &CMD_CONTROLLERS_ADD,
      &CMD_CONTROLLERS_REMOVE,
      &CMD_CONTROLLERS_TRANSFER,
      &CMD_CONTROLLERS_BOOTSTRAP,
      &CMD_BENCH_PRODUCE,
      &CMD_BENCH_CONSUME,
      &CMD_BENCH_LATENCY,
      &CMD_COMPLETION,
      NULL,
  };
  return COMMANDS;
}
