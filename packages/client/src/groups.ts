/** The calls of the client by subject, so that code reads `client.vms.get("web")`. */
import { BlixardError, type Clock, errorCodeOf, linkSignal } from "@blixard/common";
import {
  type KvEntry,
  type Labels,
  type StoredBlob,
  type StreamRequestOf,
  type VmDesired,
  type VmPhase,
  type VmRecord,
  type VmSpecInput,
  type VmVerb,
  type VmVerbName,
  vmVerbs,
} from "@blixard/protocol";
import type { CallFunction, CallOptions, StreamFunction, StreamOptions } from "./call-types.ts";
import type { BlobPromise } from "./channel.ts";
import { type ContractGroups, contractGroups } from "./contract-groups.ts";
import { type FollowOptions, followKeys, followLogs, followVms } from "./follow.ts";
import { type OperationWaitOptions, waitForOperation } from "./operation-wait.ts";
import { pagesOf } from "./pages.ts";

export type UploadBlob = (
  chunks: AsyncIterable<Uint8Array>,
  promise: BlobPromise,
  options: CallOptions,
) => Promise<StoredBlob>;

export interface WaitOptions {
  /** Default 60,000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with each record in which the phase, its reason or its message is new. */
  readonly onProgress?: (vm: VmRecord) => void;
}

export type ClientGroups = ReturnType<typeof makeGroups>;

const waitDefaultMs = 60_000;
/** A call may take longer than what is left, so that the error can say how the VM is. */
const callTimeoutMsMin = 2_000;
/** An accepted stream gives its first item within this time, or something is wrong with the node. */
const acceptedMs = 1_000;

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
    scheduling: groups.scheduling,
    capacity: groups.capacity,
    quotas: groups.quotas,
    operations: {
      ...groups.operations,
      /** Resolves when the operation has ended, however. @throws DEADLINE_EXCEEDED, OPERATION_NOT_FOUND */
      waitFor: (id: string, options: OperationWaitOptions = {}) =>
        waitForOperation(groups.operations.get, clock, id, options),
    },
    images: imageGroup(groups.images, uploadBlob),
  };
}

function imageGroup(made: ContractGroups["images"], uploadBlob: UploadBlob) {
  return {
    ...made,
    /** Stores bytes at the node that answers; `image.put` then names them by digest and node. */
    uploadBlob: (
      chunks: AsyncIterable<Uint8Array>,
      { digest, sizeBytes, raw, offset, ...options }: CallOptions & BlobPromise = {},
    ) =>
      uploadBlob(
        chunks,
        {
          ...(digest === undefined ? {} : { digest }),
          ...(sizeBytes === undefined ? {} : { sizeBytes }),
          ...(raw === undefined ? {} : { raw }),
          ...(offset === undefined ? {} : { offset }),
        },
        options,
      ),
    /** The bytes of a blob that some node holds, from its start to its end. They are not checked here. */
    async *readWhole(digest: string, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
      for (let offset = 0; ; ) {
        const { data, endOffset } = await made.readBlob({ digest, offset }, options);
        if (data.length > 0) yield data;
        offset += data.length;
        if (data.length === 0 || offset >= endOffset) return;
      }
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
    /** One page of the keys under a prefix; `next` of it is `after` of the following one. */
    list: (prefix = "", options?: KeyPageOptions) => call("kv.list", keyPage(prefix, options), options),
    /** The keys under a prefix to their end, page by page, each as it was at the `index` of its page. */
    pages: (prefix = "", options?: KeyPageOptions) => pagesOf(call, "kv.list", keyPage(prefix, options), options),
  };
}

export interface KeyPageOptions extends CallOptions {
  /** At most so many keys in one page. */
  readonly limit?: number;
  /** Only keys that follow this one. */
  readonly after?: string;
}

function keyPage(prefix: string, { limit, after }: KeyPageOptions = {}) {
  return { prefix, ...(limit === undefined ? {} : { limit }), ...(after === undefined ? {} : { after }) };
}

export interface Forced {
  /** Of a stop or a deletion: also while the node of the VM does not answer. */
  readonly force?: boolean;
}

export interface VmCreation {
  /** Default `running`. */
  readonly desired?: "running" | "stopped";
  readonly labels?: Labels;
  /** A VM that no node can take now is refused. Default: it waits for room, as `Pending` on no node. */
  readonly failIfPending?: boolean;
}

function vmGroup(made: ContractGroups["vms"], call: CallFunction, stream: StreamFunction, clock: Clock) {
  const desire =
    ({ desired, restart, from }: Pick<VmVerb, "restart" | "from"> & { readonly desired: VmDesired }) =>
    (name: string, options: CallOptions & Forced = {}) => {
      const { force, ...callOptions } = options;
      const fields = { ...(from === undefined ? {} : { from }), ...(force === undefined ? {} : { force }) };
      return call("vm.desire", { name, desired, restart, ...fields }, callOptions);
    };
  const verbs = Object.fromEntries(
    Object.entries<VmVerb>(vmVerbs).map(([verb, wish]) => [verb, desire(wish)]),
  ) as Readonly<Record<VmVerbName, ReturnType<typeof desire>>>;
  const waiting = { stream, clock, get: made.get };
  return {
    ...made,
    ...verbs,
    create: (name: string, spec: VmSpecInput, options: CallOptions & VmCreation = {}) => {
      const { desired = "running", labels, failIfPending, ...callOptions } = options;
      const more = {
        ...(labels === undefined ? {} : { labels }),
        ...(failIfPending === true ? { failIfPending } : {}),
      };
      return call("vm.create", { name, spec, desired, ...more }, callOptions);
    },
    delete: desire({ desired: "deleted", restart: false }),
    /**
     * The VMs that are there, or the one that is named, `current` once, and what becomes of them. Goes on at another node
     * when one is gone.
     */
    watch: (request: StreamRequestOf<"vm.watch"> = {}, options: FollowOptions = {}) =>
      followVms(stream, clock, request, options),
    /** What the VM prints from `offset` on, and later, until `signal` aborts; a connection that breaks is made anew. */
    followLogs: (request: StreamRequestOf<"vm.logs">, options: FollowOptions = {}) =>
      followLogs(stream, clock, request, options),
    /** The serial console: `input` goes in, what the VM prints comes out, until `signal` aborts or the reader stops. */
    openConsole: (request: StreamRequestOf<"vm.console">, options: StreamOptions<"vm.console">) =>
      stream("vm.console", request, options),
    /**
     * A TCP connection to a port of the VM, in its network `user`: `input` goes in, and its end is a half close; what the guest
     * sends comes out, the item that says `ended` last of it. @throws GUEST_UNREACHABLE
     */
    openForward: (request: StreamRequestOf<"vm.forward">, options: StreamOptions<"vm.forward">) =>
      stream("vm.forward", request, options),
    /** Resolves with the first record for which `holds`. @throws DEADLINE_EXCEEDED, VM_NOT_FOUND */
    waitFor: (name: string, what: string, holds: (vm: VmRecord) => boolean, options: WaitOptions = {}) =>
      waitForVm(waiting, name, what, holds, options),
    /** Resolves when the VM is in one of `phases`; rejects when it is Failed and that was not asked for. */
    waitForPhase: (name: string, phases: readonly VmPhase[], options: WaitOptions = {}) =>
      waitForVm(waiting, name, phases.join(" or "), (vm) => phaseReached(vm, phases), options),
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

type WaitDeps = Pick<GroupDeps, "stream"> & {
  readonly clock: Clock;
  readonly get: (name: string, options?: CallOptions) => Promise<VmRecord>;
};

async function waitForVm(
  { stream, clock, get }: WaitDeps,
  name: string,
  what: string,
  holds: (vm: VmRecord) => boolean,
  options: WaitOptions,
): Promise<VmRecord> {
  const timeoutMs = options.timeoutMs ?? waitDefaultMs;
  const endMs = clock.monotonicMs() + timeoutMs;
  // The first call gets time to be answered: its result says more than that the time is over.
  const callTimeoutMs = () => Math.max(callTimeoutMsMin, endMs - clock.monotonicMs());
  const life = linkSignal(options.signal);
  let last: VmRecord | undefined;
  const timers = [
    clock.setTimer(timeoutMs, () => last !== undefined && life.abort()),
    clock.setTimer(callTimeoutMs() + acceptedMs, () => life.abort()),
  ];
  try {
    const changes = followVms(stream, clock, { name }, { signal: life.signal }, callTimeoutMs);
    for await (const change of changes) {
      if (change.type === "put") {
        if (summaryOf(change.vm) !== summaryOf(last)) options.onProgress?.(change.vm);
        last = change.vm;
        if (holds(last)) return last;
        if (clock.monotonicMs() >= endMs) break;
      } else if (change.type === "delete" || last === undefined) {
        // The node says in its words that there is none; if there is one again, the stream tells.
        await get(name, { timeoutMs: callTimeoutMs(), signal: life.signal });
      }
    }
  } catch (error) {
    if (options.signal?.aborted || !life.signal.aborted) throw error;
  } finally {
    for (const timer of timers) timer.cancel();
    life.abort();
    life.release();
  }
  throw notReached(name, what, timeoutMs, last);
}

function summaryOf(vm: VmRecord | undefined): string {
  return vm === undefined ? "" : `${vm.phase}/${vm.reason}/${vm.message}`;
}

function notReached(name: string, what: string, timeoutMs: number, last: VmRecord | undefined): BlixardError {
  const why = [last?.reason, last?.message].filter((part) => part !== undefined && part !== "").join(": ");
  const state = last === undefined ? "no node said how it is" : `it is ${last.phase}${why === "" ? "" : ` (${why})`}`;
  return new BlixardError("DEADLINE_EXCEEDED", `VM "${name}" is not ${what} after ${timeoutMs} ms: ${state}`, {
    outcome: "unknown",
    hint: `The change goes on. See: blixard vm get ${name}`,
  });
}
