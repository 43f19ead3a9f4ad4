/**
 * The native module, loaded when it is first needed, and the border where bytes cross it.
 */
import { BlixardError, isBlixardError, messageOf } from "@blixard/common";
import type * as Iroh from "@number0/iroh";
import { importWithPeers } from "../optional-peers.ts";

export type IrohModule = typeof Iroh;

let loading: Promise<IrohModule> | undefined;
let passesTypedArrays = false;

/** @throws UNSUPPORTED when the package is not installed, or not for this platform */
export function loadIroh(): Promise<IrohModule> {
  loading ??= load();
  return loading;
}

async function load(): Promise<IrohModule> {
  // Errors of the binding otherwise carry backtraces, at 160 ms and 36 MB for the first one.
  process.env["RUST_BACKTRACE"] = "0";
  try {
    const loaded = (await importWithPeers("Iroh", () => import("@number0/iroh"))) as IrohModule & {
      readonly default?: IrohModule;
    };
    const iroh = loaded.default ?? loaded;
    passesTypedArrays = takesTypedArrays(iroh);
    return iroh;
  } catch (error) {
    if (isBlixardError(error)) throw error;
    throw new BlixardError("UNSUPPORTED", `the Iroh transport cannot be loaded: ${firstLine(error)}`, {
      hint: "Install the optional dependencies of @number0/iroh for this platform.",
      cause: error,
    });
  }
}

function takesTypedArrays(iroh: IrohModule): boolean {
  try {
    iroh.SecretKey.fromBytes(new Uint8Array(32) as unknown as number[]);
    return true;
  } catch {
    return false;
  }
}

/**
 * Bytes as the binding takes them: version 1.1.0 knows only plain arrays. `reused` is filled by a loop, which is ten
 * times as fast as `Array.from`; it may be used again once the call that takes it has resolved.
 */
export function toNative(bytes: Uint8Array, reused: number[] = []): number[] {
  if (passesTypedArrays) return bytes as unknown as number[];
  reused.length = bytes.length;
  for (let at = 0; at < bytes.length; at++) reused[at] = bytes[at] ?? 0;
  return reused;
}

export function fromNative(values: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(values.length);
  bytes.set(values);
  return bytes;
}

/** Rust errors may go on with causes and backtraces, and name files of the machine that built them. */
export function firstLine(error: unknown): string {
  return withoutBuildPath(messageOf(error).split("\n")[0] ?? "");
}

/** The line that says why, in an error that has causes; else the first line. */
export function causeLine(error: unknown): string {
  const lines = messageOf(error).split("\n");
  const cause = lines.findIndex((line) => line.startsWith("Caused by"));
  return withoutBuildPath(lines[cause + 1] ?? lines[0] ?? "");
}

function withoutBuildPath(line: string): string {
  return line
    .replace(/ \(?\S*\.rs:\d+:\d+\)?/g, "")
    .trim()
    .slice(0, 300);
}
