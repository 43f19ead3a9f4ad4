/** A QEMU without anything around it: the same machine and kernel as that of a VM, and a console that is read here. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { cleanAtEnd } from "../proc/endings.ts";

const copied = ["-M", "-accel", "-m", "-smp", "-kernel"] as const;
const patienceMs = 120_000;

export interface BareMachine {
  readonly program: string;
  readonly arguments: readonly string[];
}

/** As the process of a VM was started, without what only its manager needs. */
export function bareMachineOf(pid: number): BareMachine {
  const [program = "", ...given] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const kept = copied.flatMap((option) => {
    const value = given[given.indexOf(option) + 1];
    return given.includes(option) && value !== undefined ? [option, value] : [];
  });
  if (!kept.includes("-kernel")) throw new Error(`process ${pid} is no QEMU that boots a kernel`);
  return { program, arguments: [...kept, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"] };
}

/** Milliseconds until the guest has written `banner`. The process ends before this resolves. */
export async function bareStartMs({ program, arguments: given }: BareMachine, banner: string): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(program, given, { stdio: ["ignore", "pipe", "inherit"] });
  const end = cleanAtEnd(() => child.kill("SIGKILL"));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  try {
    let text = "";
    for await (const data of child.stdout) {
      text += String(data);
      if (text.includes(banner)) return performance.now() - startedMs;
    }
    throw new Error(`${program} ended before its guest was ready`);
  } finally {
    clearTimeout(timer);
    end();
    await exited;
  }
}
