/** The calls of the client by subject, so that code reads `client.vms.get("web")`. */
import { BlixardError, type Clock, errorCodeOf, sleep } from "@blixard/common";
import {
  type KvEntry,
  type StoredBlob,
  type StreamRequestOf,
  type VmDesired,
  type VmPhase,
  type VmRecord,
  type VmSpecInput,
  type VmVerbName,
  vmVerbs,
} from "@blixard/protocol";
import type { CallFunction, CallOptions, StreamFunction, StreamOptions } from "./call-types.ts";
import { type ContractGroups, contractGroups } from "./contract-groups.ts";
import { type FollowOptions, followKeys, followLogs } from "./follow.ts";

export type UploadBlob = (chunks: AsyncIterable<Uint8Array>, options: CallOptions) => Promise<StoredBlob>;

export interface WaitOptions {
  /** Default 60,000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with each record in which the phase, its reason or its message is new. */
  readonly onProgress?: (vm: VmRecord) => void;
}

export type ClientGroups = ReturnType<typeof makeGroups>;

const waitDefaultMs = 60_000;
const pollFirstMs = 50;
const pollMaxMs = 500;
/** The last look may take longer than what is left, so that the error can say how the VM is. */
const lookMsMin = 2_000;

export interface GroupDeps {
  readonly call: CallFunction;
  readonly stream: StreamFunction;
  readonly uploadBlob: UploadBlob;
}

/** The calls that the contract makes, and those that are more than one call of it. */
export function makeGroups({ call, stream, uploadBlob }: GroupDeps, clock: Clock) {
  const groups = contractGroups(call);
  return {
    ...groups,
    kv: kvGroup(groups.kv, call, stream, clock),
    vms: vmGroup(groups.vms, call, stream, clock),
    images: {
      ...groups.images,
      /** Stores bytes at the node that answers; `image.put` then names them by digest and node. */
      uploadBlob: (chunks: AsyncIterable<Uint8Array>, options: CallOptions = {}) => uploadBlob(chunks, options),
    },
  };
}

function kvGroup(made: ContractGroups["kv"], call: CallFunction, stream: StreamFunction, clock: Clock) {
  return {
    ...made,
    /** The entry, or undefined when there is none. */
    async get(key: string, options?: CallOptions): Promise<KvEntry | undefined> {
      try {
        return await call("kv.get", { key }, options);
      } catch (error) {
        if (errorCodeOf(error) === "KEY_NOT_FOUND") return undefined;
        throw error;
      }
    },
    /** The keys that are there, `current` once, and what becomes of them. Goes on at another node when one is gone. */
    watch: (prefix = "", options: FollowOptions = {}) => followKeys(stream, clock, { prefix }, options),
    list: (prefix = "", options?: CallOptions & { readonly limit?: number }) =>
      call("kv.list", { prefix, ...(options?.limit === undefined ? {} : { limit: options.limit }) }, options),
  };
}

function vmGroup(made: ContractGroups["vms"], call: CallFunction, stream: StreamFunction, clock: Clock) {
  const desire = (desired: VmDesired, restart: boolean) => (name: string, options?: CallOptions) =>
    call("vm.desire", { name, desired, restart }, options);
  const verbs = Object.fromEntries(
    Object.entries(vmVerbs).map(([verb, { desired, restart }]) => [verb, desire(desired, restart)]),
  ) as Readonly<Record<VmVerbName, ReturnType<typeof desire>>>;
  return {
    ...made,
    ...verbs,
    create: (
      name: string,
      spec: VmSpecInput,
      options: CallOptions & { readonly desired?: "running" | "stopped" } = {},
    ) => call("vm.create", { name, spec, desired: options.desired ?? "running" }, options),
    delete: desire("deleted", false),
    /** What the VM prints from `offset` on, and later, until `signal` aborts; a connection that breaks is made anew. */
    followLogs: (request: StreamRequestOf<"vm.logs">, options: FollowOptions = {}) =>
      followLogs(stream, clock, request, options),
    /** The serial console: `input` goes in, what the VM prints comes out, until `signal` aborts or the reader stops. */
    openConsole: (request: StreamRequestOf<"vm.console">, options: StreamOptions<"vm.console">) =>
      stream("vm.console", request, options),
    /** Resolves with the first record for which `holds`. @throws DEADLINE_EXCEEDED, VM_NOT_FOUND */
    waitFor: (name: string, what: string, holds: (vm: VmRecord) => boolean, options: WaitOptions = {}) =>
      waitForVm(made.get, clock, name, what, holds, options),
    /** Resolves when the VM is in one of `phases`; rejects when it is Failed and that was not asked for. */
    waitForPhase: (name: string, phases: readonly VmPhase[], options: WaitOptions = {}) =>
      waitForVm(made.get, clock, name, phases.join(" or "), (vm) => phaseReached(vm, phases), options),
  };
}

/** @throws VM_DRIVER_FAILED when the VM has failed for good */
function phaseReached(vm: VmRecord, phases: readonly VmPhase[]): boolean {
  if (phases.includes(vm.phase)) return true;
  if (vm.phase !== "Failed") return false;
  throw new BlixardError("VM_DRIVER_FAILED", `VM "${vm.name}" failed: ${vm.reason}${vm.message && `: ${vm.message}`}`, {
    hint: `See: blixard vm logs ${vm.name}`,
    details: { reason: vm.reason },
  });
}

async function waitForVm(
  get: (name: string, options?: CallOptions) => Promise<VmRecord>,
  clock: Clock,
  name: string,
  what: string,
  holds: (vm: VmRecord) => boolean,
  options: WaitOptions,
): Promise<VmRecord> {
  const timeoutMs = options.timeoutMs ?? waitDefaultMs;
  const endMs = clock.monotonicMs() + timeoutMs;
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  let seen = "";
  for (let pollMs = pollFirstMs; ; pollMs = Math.min(pollMaxMs, pollMs * 1.5)) {
    // The last look gets time to be answered: its result says more than that the time is over.
    const vm = await get(name, { timeoutMs: Math.max(lookMsMin, endMs - clock.monotonicMs()), ...signal });
    const summary = `${vm.phase}/${vm.reason}/${vm.message}`;
    if (summary !== seen) options.onProgress?.(vm);
    seen = summary;
    if (holds(vm)) return vm;
    const remainingMs = endMs - clock.monotonicMs();
    if (remainingMs <= 0) {
      const why = [vm.reason, vm.message].filter((part) => part !== "").join(": ");
      const state = why === "" ? vm.phase : `${vm.phase} (${why})`;
      throw new BlixardError("DEADLINE_EXCEEDED", `VM "${name}" is not ${what} after ${timeoutMs} ms: it is ${state}`, {
        outcome: "unknown",
        hint: `The change goes on. See: blixard vm get ${name}`,
      });
    }
    await sleep(clock, Math.min(pollMs, remainingMs), options.signal);
  }
}
