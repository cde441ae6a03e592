/* milena: the command line of a user and operator of a cluster. Finds the command by its words, or says which was
 * probably meant. */
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/text.h"
#include "services/base/version.h"

/* The list of commands; of one group when @group is not NULL. */
static void print_help(FILE *out, const char *group) {
  fprintf(out, "Usage: milena %s%sCOMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n", group ? group : "", group ? " " : "");
  gsize length = group ? strlen(group) : 0;
  for (const Command *const *at = cli_commands(); *at; at++) {
    const Command *command = *at;
    if (group && (strncmp(command->name, group, length) != 0 || command->name[length] != ' '))
      continue;
    g_autofree char *usage = g_strjoin(*command->arguments ? " " : "", command->name, command->arguments, NULL);
    fprintf(out, "  %-34s %s\n", usage, command->summary);
  }
  fprintf(
      out,
      "\n'milena COMMAND --help' explains a command, with examples.\n"
      "Everywhere: --bootstrap host:port (or MILENA_BOOTSTRAP), --output table|json, --timeout SECONDS;\n"
      "--bootstrap-only from outside the network of the cluster, when the brokers' own addresses are out of reach.\n"
      "Exit codes: 0 it went well, 1 it failed, 2 the command line is wrong, 130 after Ctrl-C.\n");
}

/* The command that argv begins with; @ret_words is how many words its name has. */
static const Command *find_command(int argc, char **argv, int *ret_words) {
  for (const Command *const *at = cli_commands(); *at; at++) {
    g_auto(GStrv) words = g_strsplit((*at)->name, " ", -1);
    int count = (int)g_strv_length(words), same = 0;
    while (same < count && same < argc && !strcmp(words[same], argv[same]))
      same++;
    if (same < count)
      continue;
    *ret_words = count;
    return *at;
  }
  return NULL;
}

static gboolean is_group(const char *word) {
  gsize length = strlen(word);
  for (const Command *const *at = cli_commands(); *at; at++)
    if (!strncmp((*at)->name, word, length) && (*at)->name[length] == ' ')
      return TRUE;
  return FALSE;
}

/* Say that there is no such command, and which is near. */
static int unknown_command(int argc, char **argv) {
  gboolean group = is_group(argv[0]);
  g_autofree char *both = argc > 1 ? g_strdup_printf("%s %s", argv[0], argv[1]) : g_strdup(argv[0]);
  const char *given = group ? both : argv[0];
  /* Whole names, and their first words. */
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  for (const Command *const *at = cli_commands(); *at; at++) {
    g_autofree char *first = g_strndup((*at)->name, strcspn((*at)->name, " "));
    g_strv_builder_add_many(builder, (*at)->name, first, NULL);
  }
  g_auto(GStrv) names = g_strv_builder_end(builder);
  const char *nearest = text_nearest(both, (const char *const *)names);
  if (!nearest)
    nearest = text_nearest(argv[0], (const char *const *)names);
  fprintf(stderr, "milena: there is no command '%s'", given);
  if (nearest && strcmp(nearest, argv[0]) != 0)
    fprintf(stderr, "; did you mean 'milena %s'?\n", nearest);
  else
    fprintf(stderr, group ? "; see 'milena %s --help'.\n" : "; see 'milena help'.\n", argv[0]);
  return CLI_USAGE;
}

/* Options before the command are as good as behind it: `milena --output json topics list`. Moves them there. */
static char **options_last(int argc, char **argv) {
  static const char *const WITH_VALUE[] = {"--bootstrap", "-b", "--output", "-O", "--timeout", NULL};
  int first = 0;
  while (first < argc && argv[first][0] == '-')
    first += g_strv_contains(WITH_VALUE, argv[first]) && first + 1 < argc ? 2 : 1;
  char **moved = g_new0(char *, argc + 1);
  for (int i = 0; i < argc; i++)
    moved[i] = argv[(i + first) % argc];
  return moved;
}

static int run_command(const Command *command, int words, int argc, char **argv) {
  Cli cli;
  cli_init(&cli, command);
  /* GOption wants the program's name first: the command's last word stands there. */
  int code = command->run(&cli, argc - words + 1, argv + words - 1);
  cli_clear(&cli);
  return code;
}

/* Batches of a megabyte come and go: as it comes, malloc gives each back to the kernel and gets it again, and page
 * faults are half of what reading costs. 32 MiB is the most that glibc takes for the first. */
static void tune_malloc(void) {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 2);
}

int main(int argc, char **argv) {
  tune_malloc();
  setlocale(LC_ALL, "");
  signal(SIGPIPE, SIG_IGN);
  g_autofree char **words = argc > 1 ? options_last(argc - 1, argv + 1) : g_new0(char *, 1);
  int count = argc - 1, used = 0;
  gboolean help = count > 0 && !strcmp(words[0], "help");
  char **rest = words + help;
  count -= help;
  if (count == 0 || !strcmp(rest[0], "--help") || !strcmp(rest[0], "-h")) {
    print_help(count || help ? stdout : stderr, NULL);
    return count || help ? CLI_OK : CLI_USAGE;
  }
  if (!strcmp(rest[0], "--version")) {
    printf("milena %s\n", MILENA_VERSION);
    return CLI_OK;
  }
  const Command *command = find_command(count, rest, &used);
  if (command && help) {
    char *arguments[] = {rest[0], (char *)"--help", NULL};
    return run_command(command, 1, 2, arguments);
  }
  if (command)
    return run_command(command, used, count, rest);
  gboolean wants_list = is_group(rest[0]) && (count == 1 || rest[1][0] == '-');
  if (!wants_list)
    return unknown_command(count, rest);
  gboolean asked = help || count > 1;
  print_help(asked ? stdout : stderr, rest[0]);
  return asked ? CLI_OK : CLI_USAGE;
}
