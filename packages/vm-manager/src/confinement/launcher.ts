/**
 * Starts the process of an instance behind its walls. Node cannot close descriptors in a child, cannot give up
 * capabilities and cannot enter a control group before the program runs, so programs stand between, each of which
 * replaces itself by the next one; the pid stays:
 *
 *   bash      enters the control groups, closes every descriptor that the instance shall not have
 *   perl      makes the taps, for a program that gets some (`tap.ts`)
 *   setpriv   changes the user, drops capabilities, sets no-new-privileges (util-linux)
 *   program
 */
import { accessSync, constants } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { BlixardError } from "@blixard/common";
import type { Command, Confinement } from "../driver.ts";
import { tapCommand } from "./tap.ts";

/**
 * Arguments: the highest descriptor to keep, control groups, `--`, the program and its arguments. It has to be bash:
 * dash, the `sh` of Debian, knows descriptors of one digit only.
 */
const script = `
for path in /proc/self/fd/*; do
  number=\${path##*/}
  if [ "$number" -gt "$1" ]; then eval "exec $number>&-"; fi
done
shift
while [ "$1" != -- ]; do
  echo $$ > "$1/cgroup.procs" || exit 126
  shift
done
shift
exec "$@"
`;

/**
 * Bash reads no start-up file, which it does when its input is a socket, as that of a child of Node is, and takes nothing
 * from the environment.
 */
const quiet = ["--norc", "--noprofile", "-p"] as const;

/** What a program that cannot be found ends with under the launcher, as in every shell. */
export const notFoundExitCode = 127;

const stderrDescriptor = 2;

/** Of a process that shares everything with this one but its descriptors. */
export const unconfined: Confinement = { uid: undefined, groups: [], setpriv: undefined, controlGroups: [] };

/**
 * The command that runs `command` behind its walls, with no descriptor above `highest`. Without bash on this host it is the
 * command itself.
 */
export function launchCommand(
  command: Command,
  confinement: Confinement = unconfined,
  highest = stderrDescriptor,
): Command {
  const bash = findProgram("bash");
  if (bash === undefined) return withTaps(command, command.taps);
  const { controlGroups } = confinement;
  const inner = withTaps(withPrivileges(command, confinement), command.taps);
  return {
    program: bash,
    arguments: [
      ...quiet,
      "-c",
      script,
      "blixard-launch",
      `${highest}`,
      ...controlGroups,
      "--",
      inner.program,
      ...inner.arguments,
    ],
  };
}

/**
 * The kernel forgets what was asked for when the user changes, so it is asked for last. Whoever lost its parent before that
 * would live on: it looks, and ends.
 */
const endScript = '[ "$PPID" = "$1" ] || exit 125; shift; exec "$@"';

function dyingWith(command: Command, { diesWith }: Confinement): readonly string[] {
  const bash = diesWith === undefined ? undefined : findProgram("bash");
  const own = [command.program, ...command.arguments];
  if (diesWith === undefined || bash === undefined) return own;
  return [bash, ...quiet, "-c", endScript, "blixard-launch", `${diesWith.pid}`, ...own];
}

function withPrivileges(command: Command, confinement: Confinement): Command {
  const { setpriv, uid, groups, diesWith } = confinement;
  const program = setpriv ?? diesWith?.setpriv;
  if (program === undefined) return command;
  const user =
    uid === undefined
      ? []
      : [
          ...["--reuid", `${uid}`, "--regid", `${uid}`],
          ...(groups.length === 0 ? ["--clear-groups"] : ["--groups", groups.join(",")]),
          ...["--bounding-set=-all", "--inh-caps=-all"],
        ];
  const death = diesWith === undefined ? [] : ["--pdeathsig", "KILL"];
  const locked = setpriv === undefined ? [] : ["--no-new-privs"];
  return { program, arguments: [...user, ...death, ...locked, "--", ...dyingWith(command, confinement)] };
}

/** @throws UNSUPPORTED where nothing can make taps */
function withTaps(command: Command, taps: Command["taps"] = []): Command {
  if (taps.length === 0) return command;
  const perl = findProgram("perl");
  if (perl === undefined) throw new BlixardError("UNSUPPORTED", "perl, which makes taps, is not installed");
  return tapCommand(perl, command, taps);
}

/** The absolute path of a program on the search path. */
export function findProgram(name: string): string | undefined {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    // A part of the search path that is not absolute means another directory in the child.
    if (!isAbsolute(directory)) continue;
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory: look in the next.
    }
  }
  return undefined;
}
