/** Finds out whether KVM works here, by running {@link kvmProbeRom} under it for two seconds at most. */
import { spawn } from "node:child_process";
import { access, constants, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, systemErrorCodeOf } from "@blixard/common";
import { launchCommand } from "../confinement/launcher.ts";
import { kvmProbeExitCode, kvmProbeRom } from "./kvm-probe-rom.ts";

export type KvmProbe = { readonly works: true } | { readonly works: false; readonly reason: string };

const probeTimeoutMs = 2_000;

/** The answer holds for one boot of the host and is kept in `cacheDirectory`. */
export async function probeKvm(options: {
  readonly program: string;
  readonly cacheDirectory: string;
  readonly bootId: string;
}): Promise<KvmProbe> {
  try {
    await access("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch (error) {
    return { works: false, reason: `/dev/kvm: ${systemErrorCodeOf(error) ?? messageOf(error)}` };
  }
  const cachePath = join(options.cacheDirectory, "kvm-probe.json");
  const cached = await readCache(cachePath, options.bootId);
  if (cached !== undefined) return cached;
  const romPath = join(options.cacheDirectory, "kvm-probe.rom");
  await writeFile(romPath, kvmProbeRom(), { mode: 0o600 });
  const result = await runProbe(options.program, romPath, "kvm", probeTimeoutMs);
  await writeFile(cachePath, JSON.stringify({ bootId: options.bootId, result }), { mode: 0o600 });
  return result;
}

/** Runs the ROM under one accelerator; anything but its exit code within the time is a no, with the reason. */
export function runProbe(
  program: string,
  romPath: string,
  accelerator: "kvm" | "tcg",
  timeoutMs: number,
): Promise<KvmProbe> {
  return new Promise((resolve) => {
    const probeArguments = ["-M", "pc", "-accel", accelerator, "-m", "16M", "-bios", romPath];
    const fixed = [
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-device",
      "isa-debug-exit,iobase=0xf4,iosize=4",
    ];
    const launch = launchCommand({ program, arguments: [...probeArguments, ...fixed] });
    const child = spawn(launch.program, launch.arguments, { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    let timedOut = false;
    child.stderr.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString("utf8")).slice(-300);
    });
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      resolve({ works: false, reason: messageOf(error) });
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      if (code === kvmProbeExitCode && !timedOut) resolve({ works: true });
      else if (timedOut) resolve({ works: false, reason: `a test guest did not finish within ${timeoutMs} ms` });
      else resolve({ works: false, reason: `a test guest failed (exit code ${code}) ${errors.trim()}`.trim() });
    });
  });
}

async function readCache(path: string, bootId: string): Promise<KvmProbe | undefined> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as { readonly bootId?: unknown; readonly result?: KvmProbe };
    return value.bootId === bootId ? value.result : undefined;
  } catch {
    // A missing or torn cache only costs the probe again.
    return undefined;
  }
}
