/* `milena completion bash|zsh`: prints the shell's script, which is completion.bash or completion.zsh with the commands
 * put in. The scripts ask `--help` for options and `topics list` for topics, so they never know more than the program.
 */
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/completion_scripts.h"

#define PLACE "@COMMANDS@"

static int run_completion(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  const char *shell = cli->arguments[0], *script = NULL;
  if (!strcmp(shell, "bash"))
    script = COMPLETION_BASH;
  else if (!strcmp(shell, "zsh"))
    script = COMPLETION_ZSH;
  else
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "'%s' is no shell that is known: bash or zsh.", shell));
  const char *place = strstr(script, PLACE);
  g_autoptr(GString) out = g_string_new_len(script, place - script);
  for (const Command *const *at = cli_commands(); *at; at++)
    g_string_append_printf(out, "    '%s'\n", (*at)->name);
  g_string_append(out, place + strlen(PLACE "\n"));
  return cli_print(cli, out->str);
}

const Command CMD_COMPLETION = {
    .name = "completion",
    .arguments = "SHELL",
    .summary = "Print what makes bash or zsh complete commands, options and topics",
    .examples = "  source <(milena completion bash)\n"
                "  milena completion zsh > ~/.zfunc/_milena\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .local = TRUE,
    .run = run_completion,
};
