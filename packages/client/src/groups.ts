/** The calls of the client by subject, so that code reads `client.vms.get("web")`. */
import { BlixardError, type Clock, errorCodeOf, sleep } from "@blixard/common";
import type {
  CertificateView,
  ImageRecord,
  KvEntry,
  MemberRole,
  MemberStatus,
  NodeView,
  PendingJoin,
  RequestOf,
  ResponseOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
  TicketView,
  TokenView,
  VmPhase,
  VmRecord,
  VmSpecInput,
} from "@blixard/protocol";
import type { CallOptions, StreamOptions } from "./blixard-client.ts";
import { type FollowOptions, followKeys, followLogs } from "./follow.ts";
import type { HttpMethodName } from "./routes.ts";

export type CallFunction = <Name extends HttpMethodName>(
  name: Name,
  request: RequestOf<Name>,
  options?: CallOptions,
) => Promise<ResponseOf<Name>>;

export type StreamFunction = <Name extends StreamName>(
  name: Name,
  request: StreamRequestOf<Name>,
  options?: StreamOptions<Name>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;

export type UploadBlob = (
  chunks: AsyncIterable<Uint8Array>,
  options: CallOptions,
) => Promise<{ digest: string; sizeBytes: number; nodeId: number }>;

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

export function makeGroups({ call, stream, uploadBlob }: GroupDeps, clock: Clock) {
  return {
    kv: kvGroup(call, stream, clock),
    vms: vmGroup(call, stream, clock),
    images: {
      list: async (options?: CallOptions): Promise<ImageRecord[]> => (await call("image.list", {}, options)).items,
      get: (name: string, options?: CallOptions) => call("image.get", { name }, options),
      put: (image: RequestOf<"image.put">, options?: CallOptions) => call("image.put", image, options),
      remove: (name: string, options?: CallOptions) => call("image.remove", { name }, options),
      /** Stores bytes at the node that answers; `image.put` then names them by digest and node. */
      uploadBlob: (chunks: AsyncIterable<Uint8Array>, options: CallOptions = {}) => uploadBlob(chunks, options),
    },
    tickets: {
      create: (request: RequestOf<"ticket.create"> = {}, options?: CallOptions) =>
        call("ticket.create", request, options),
      list: async (options?: CallOptions): Promise<TicketView[]> => (await call("ticket.list", {}, options)).items,
      revoke: (id: string, options?: CallOptions) => call("ticket.revoke", { id }, options),
    },
    tokens: {
      create: (request: RequestOf<"token.create">, options?: CallOptions) => call("token.create", request, options),
      list: async (options?: CallOptions): Promise<TokenView[]> => (await call("token.list", {}, options)).items,
      revoke: (id: string, options?: CallOptions) => call("token.revoke", { id }, options),
    },
    certificates: {
      list: async (scope: "node" | "cluster" = "cluster", options?: CallOptions): Promise<CertificateView[]> =>
        (await call("cert.list", { scope }, options)).items,
      /** New ones for new connections; those that are open go on. */
      rotate: async (scope: "node" | "cluster" = "cluster", options?: CallOptions): Promise<CertificateView[]> =>
        (await call("cert.rotate", { scope }, options)).items,
    },
    nodes: {
      list: async (options?: CallOptions): Promise<NodeView[]> => (await call("node.list", {}, options)).items,
      get: (id: number, options?: CallOptions) => call("node.get", { id }, options),
      cordon: (id: number, cordoned: boolean, options?: CallOptions) => call("node.cordon", { id, cordoned }, options),
    },
    members: {
      list: async (options?: CallOptions): Promise<MemberStatus[]> => (await call("member.list", {}, options)).items,
      remove: (id: number, force = false, options?: CallOptions) => call("member.remove", { id, force }, options),
      setRole: (id: number, role: MemberRole, force = false, options?: CallOptions) =>
        call("member.setRole", { id, role, force }, options),
      /** Machines that asked to join without a ticket. */
      pending: async (options?: CallOptions): Promise<PendingJoin[]> => (await call("join.list", {}, options)).items,
      accept: (endpointId: string, role: MemberRole = "voter", options?: CallOptions) =>
        call("join.accept", { endpointId, role }, options),
    },
    cluster: {
      transferLeader: (to?: number, options?: CallOptions) =>
        call("leader.transfer", to === undefined ? {} : { to }, options),
      takeSnapshot: (options?: CallOptions) => call("snapshot.take", {}, options),
      stateHash: (index: number, options?: CallOptions) => call("debug.stateHash", { index }, options),
      log: (from: number, to: number, options?: CallOptions) => call("debug.log", { from, to }, options),
    },
  };
}

function kvGroup(call: CallFunction, stream: StreamFunction, clock: Clock) {
  return {
    /** The entry, or undefined when there is none. */
    async get(key: string, options?: CallOptions): Promise<KvEntry | undefined> {
      try {
        return await call("kv.get", { key }, options);
      } catch (error) {
        if (errorCodeOf(error) === "KEY_NOT_FOUND") return undefined;
        throw error;
      }
    },
    put: (key: string, value: string, options?: CallOptions) => call("kv.put", { key, value }, options),
    delete: (key: string, options?: CallOptions) => call("kv.delete", { key }, options),
    /** Writes `to` if the present value is `from`; null stands for "absent". */
    cas: (key: string, from: string | null, to: string | null, options?: CallOptions) =>
      call("kv.cas", { key, from, to }, options),
    /** The keys that are there, `current` once, and what becomes of them. Goes on at another node when one is gone. */
    watch: (prefix = "", options: FollowOptions = {}) => followKeys(stream, clock, { prefix }, options),
    list: (prefix = "", options?: CallOptions & { readonly limit?: number }) =>
      call("kv.list", { prefix, ...(options?.limit === undefined ? {} : { limit: options.limit }) }, options),
  };
}

function vmGroup(call: CallFunction, stream: StreamFunction, clock: Clock) {
  const desire = (name: string, desired: VmRecord["desired"], restart: boolean, options?: CallOptions) =>
    call("vm.desire", { name, desired, restart }, options);
  const get = (name: string, options?: CallOptions) => call("vm.get", { name }, options);
  return {
    create: (
      name: string,
      spec: VmSpecInput,
      options: CallOptions & { readonly desired?: "running" | "stopped" } = {},
    ) => call("vm.create", { name, spec, desired: options.desired ?? "running" }, options),
    list: async (options?: CallOptions): Promise<VmRecord[]> => (await call("vm.list", {}, options)).items,
    get,
    start: (name: string, options?: CallOptions) => desire(name, "running", false, options),
    stop: (name: string, options?: CallOptions) => desire(name, "stopped", false, options),
    restart: (name: string, options?: CallOptions) => desire(name, "running", true, options),
    pause: (name: string, options?: CallOptions) => desire(name, "paused", false, options),
    resume: (name: string, options?: CallOptions) => desire(name, "running", false, options),
    delete: (name: string, options?: CallOptions) => desire(name, "deleted", false, options),
    readConsole: (request: RequestOf<"vm.consoleRead">, options?: CallOptions) =>
      call("vm.consoleRead", request, options),
    /** What the VM prints from `offset` on, and later, until `signal` aborts; a way that breaks is found again. */
    followLogs: (request: StreamRequestOf<"vm.logs">, options: FollowOptions = {}) =>
      followLogs(stream, clock, request, options),
    /** The serial console: `input` goes in, what the VM prints comes out, until `signal` aborts or the reader stops. */
    openConsole: (request: StreamRequestOf<"vm.console">, options: StreamOptions<"vm.console">) =>
      stream("vm.console", request, options),
    /** Resolves with the first record for which `holds`. @throws DEADLINE_EXCEEDED, VM_NOT_FOUND */
    waitFor: (name: string, what: string, holds: (vm: VmRecord) => boolean, options: WaitOptions = {}) =>
      waitForVm(get, clock, name, what, holds, options),
    /** Resolves when the VM is in one of `phases`; rejects when it is Failed and that was not asked for. */
    waitForPhase: (name: string, phases: readonly VmPhase[], options: WaitOptions = {}) =>
      waitForVm(get, clock, name, phases.join(" or "), (vm) => phaseReached(vm, phases), options),
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
