/**
 * The guard of the watchdog: a shell that reads a line from it every now and then, the end of the lease. When the lines stop
 * coming and the lease is over, the watchdog stands still, and the guard kills it; the processes that it holds end with it. A
 * watchdog that ends closes the pipe, and the guard ends too.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { findProgram, launchCommand } from "../confinement/launcher.ts";

/** `$1`: seconds of silence after which it looks. `/proc/uptime` counts hundredths of a second. */
const script = `
until=0
while :; do
  IFS= read -r -t "$1" line
  status=$?
  if [ $status -eq 0 ]; then
    until=$line
    continue
  fi
  [ $status -gt 128 ] || exit 0
  read -r up rest < /proc/uptime
  [ "\${up/./}0" -gt "$until" ] || continue
  kill -9 "$PPID"
  exit 0
done
`;

const silenceSeconds = 1;

/** Undefined without bash on this host. */
export function startBeatGuard(): ChildProcess | undefined {
  const bash = findProgram("bash");
  if (bash === undefined) return undefined;
  const command = {
    program: bash,
    arguments: ["--norc", "--noprofile", "-c", script, "blixard-guard", `${silenceSeconds}`],
  };
  const launch = launchCommand(command);
  const child = spawn(launch.program, [...launch.arguments], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    env: { PATH: process.env["PATH"] },
  });
  child.on("error", () => {});
  child.stdin?.on("error", () => {});
  return child;
}
