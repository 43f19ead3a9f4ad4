/** `blixard completion bash|zsh|fish`: a script made from the command tree. */
import { Argument, type Command } from "commander";
import type { CliContext } from "../cli-context.ts";

export function registerCompletion(command: Command, context: CliContext): void {
  command.addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"])).action((shell: string) => {
    const root = command.parent ?? command;
    context.stdout.write(shell === "fish" ? fishScript(root) : bashScript(root, shell === "zsh"));
  });
}

/** Each path of command words with the words that may follow it. */
function wordsByPath(command: Command, path: readonly string[] = []): [string, string[]][] {
  const words = command.commands.map((sub) => sub.name());
  const flags = command.options.flatMap((option) => (option.long ? [option.long] : []));
  const deeper = command.commands.flatMap((sub) => wordsByPath(sub, [...path, sub.name()]));
  return [[path.join(" "), [...words, ...flags, "--help"]], ...deeper];
}

function bashScript(root: Command, zsh: boolean): string {
  const cases = wordsByPath(root).map(([path, words]) => `    "${path}") words="${words.join(" ")}" ;;`);
  return `${zsh ? "autoload -U +X bashcompinit && bashcompinit\n" : ""}_blixard() {
  local path="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="$path\${path:+ }$word" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _blixard blixard
`;
}

function fishScript(root: Command): string {
  const lines = root.commands.flatMap((group) => [
    `complete -c blixard -f -n __fish_use_subcommand -a ${group.name()} -d '${group.description()}'`,
    ...group.commands.map(
      (sub) =>
        `complete -c blixard -f -n '__fish_seen_subcommand_from ${group.name()}' -a ${sub.name()} -d '${sub.description().replaceAll("'", "")}'`,
    ),
  ]);
  return `${lines.join("\n")}\n`;
}
