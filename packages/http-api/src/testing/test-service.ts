/** A node service in memory for the tests of the HTTP API: real key-value semantics, one VM record, two tokens. */
import { BlixardError, type LinkedSignal, linkSignal, onAbort, Watch } from "@blixard/common";
import {
  authorize,
  type CallMeta,
  encodeTicket,
  kvChanges,
  lossPolicyOf,
  type MethodName,
  methods,
  type OperationRecord,
  type StreamName,
  type StreamOutputOf,
  streams,
  type TicketRole,
  type VmRecord,
  vmChanges,
  vmSpecSchema,
} from "@blixard/protocol";
import type { Caller, NodeService, Readiness } from "../node-service.ts";

export interface RecordedCall {
  readonly name: MethodName;
  readonly request: unknown;
  readonly meta: CallMeta;
}

type Handlers = Partial<Record<MethodName, (request: never) => unknown>>;

export class TestService implements NodeService {
  readonly calls: RecordedCall[] = [];
  readonly written: Uint8Array[] = [];
  readiness: Readiness = { ready: true, reason: "" };
  /** Streams that are open now. */
  readonly open = new Watch(0);
  /** What `vm.watch` tells; any other name is that of a VM which runs. */
  readonly vms = new Watch<ReadonlyMap<string, VmRecord | undefined>>(new Map());
  /** The one operation that there is. */
  operation: OperationRecord | undefined;
  /** Tokens that are good no longer. */
  readonly revoked = new Set<string>();
  readonly #values = new Map<string, { value: string; index: number }>();
  readonly #changes = new Watch(0);
  readonly #lives = new Set<LinkedSignal>();
  #index = 1;
  #output = "booting\n";
  #wake: (() => void)[] = [];

  readonly #handlers: Handlers = {
    "identity.get": () => ({ ...identity }),
    "kv.get": ({ key }: { key: string }) => {
      const entry = this.#values.get(key);
      if (entry === undefined) throw new BlixardError("KEY_NOT_FOUND", `there is no key "${key}"`);
      return { key, ...entry };
    },
    "kv.list": ({ prefix, after = "", limit }: { prefix: string; after?: string; limit: number }) => {
      const entries = [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, entry]) => ({ key, ...entry }));
      const following = entries.filter(({ key }) => key.startsWith(prefix) && key > after);
      const items = following.slice(0, limit);
      const last = following.length > limit ? items.at(-1)?.key : undefined;
      return {
        items,
        index: this.#index,
        truncated: last !== undefined,
        ...(last === undefined ? {} : { next: last }),
      };
    },
    "kv.put": ({ key, value }: { key: string; value: string }) => this.put(key, value),
    "kv.delete": ({ key }: { key: string }) => {
      this.#values.delete(key);
      this.#changes.set(++this.#index);
      return { index: this.#index, term: 2 };
    },
    "kv.cas": ({ key, from, to }: { key: string; from: string | null; to: string | null }) => {
      const swapped = (this.#values.get(key)?.value ?? null) === from;
      this.#index++;
      if (swapped && to !== null) this.#values.set(key, { value: to, index: this.#index });
      if (swapped && to === null) this.#values.delete(key);
      return { swapped, index: this.#index, term: 2 };
    },
    "vm.create": ({ name, spec }: { name: string; spec: VmRecord["spec"] }) => ({
      index: 9,
      term: 2,
      vm: { ...vmRecord, name, spec },
    }),
    "vm.list": () => ({ items: [vmRecord] }),
    "vm.get": ({ name }: { name: string }) => {
      const vm = this.#vm(name);
      if (vm === undefined) throw new BlixardError("VM_NOT_FOUND", `there is no VM "${name}"`);
      return vm;
    },
    "vm.explain": ({ name }: { name: string }) => {
      const { spec, node, phase, desired, reason, message, placement, conditions, fencingEpoch, ends } = vmRecord;
      const { onNodeLoss, onPartition, effect } = lossPolicyOf(spec, { ownData: false });
      const loss = { onNodeLoss, onPartition, lossEffect: effect };
      return { name, node, phase, desired, reason, message, placement, conditions, ...loss, fencingEpoch, ends };
    },
    "vm.desire": ({ name, desired }: { name: string; desired: VmRecord["desired"] }) => ({
      index: 10,
      term: 2,
      vm: { ...vmRecord, name, desired },
    }),
    "vm.consoleRead": async ({ name, offset, waitMs }: { name: string; offset: number; waitMs: number }) => {
      if (name !== "web") throw new BlixardError("VM_NOT_FOUND", `there is no VM "${name}"`);
      const from = offset < 0 ? Math.max(0, this.#output.length + offset) : offset;
      if (from >= this.#output.length && waitMs > 0) await new Promise<void>((resolve) => this.#wake.push(resolve));
      const data = new Uint8Array(Buffer.from(this.#output.slice(from)));
      return { offset: from, data, endOffset: this.#output.length };
    },
    "vm.consoleWrite": ({ data }: { data: Uint8Array }) => {
      this.print(Buffer.from(data).toString());
      return {};
    },
    "member.remove": () => ({ index: 11, term: 2 }),
    "ticket.create": ({ role, nodeName }: { role: TicketRole; nodeName?: string }) => {
      const id = "0123456789ab";
      // The name says where the node of this ticket listens.
      const addresses = [nodeName === "far" ? "192.0.2.1:7001" : "127.0.0.1:7001"];
      const endpoints = [{ endpointId: identity.endpointId, addresses }];
      const fields = { clusterId: "cluster", ticketId: id, secret: new Uint8Array(32), expiresUnixMs: 1 };
      return {
        index: 12,
        term: 2,
        id,
        ticket: encodeTicket({ ...fields, shownBy: "signature", role, endpoints }),
        expiresUnixMs: 1,
      };
    },
    "ban.add": ({ id, acceptTwoCopies: vms }: { id: number; acceptTwoCopies: string[] }) => ({
      ...{ index: 12, term: 2, nodeId: id, endpointId: "ab".repeat(32), role: "voter", vms },
      revoked: { tokens: [`node-${id}`], tickets: ["t1"] },
      secrets: [
        { kind: "node-key", held: "the key", ids: [], settled: true, next: "banned" },
        { kind: "bearer-tokens", held: "texts", ids: ["ops", "ci"], settled: false, next: "rotate" },
      ],
    }),
    "node.rotateKey": ({ id }: { id: number }) => ({ index: 13, term: 2, nodeId: id, endpointId: "cd".repeat(32) }),
    "node.drain": ({ dryRun }: { dryRun: boolean }) => this.#work(dryRun),
    "node.resume": ({ dryRun }: { dryRun: boolean }) => this.#work(dryRun),
    "operation.list": () => ({ items: this.operation === undefined ? [] : [this.operation] }),
    "operation.get": ({ id }: { id: string }) => {
      if (id === this.operation?.id) return this.operation;
      throw new BlixardError("OPERATION_NOT_FOUND", `there is no operation ${id}`);
    },
    "operation.cancel": () => ({ index: 14, term: 2, operation: { ...this.operation, state: "cancelled" } }),
    "debug.stateHash": ({ index }: { index: number }) => ({ index, hash: "ab" }),
    "image.list": () => {
      throw new TypeError("a fault with a secret in it");
    },
  };

  #work(dryRun: boolean) {
    const plan = [{ vm: "web", action: "move", why: "it fits", to: 3 }];
    return { index: 14, term: 2, plan, ...(dryRun ? {} : { operation: this.operation }) };
  }

  put(key: string, value: string): { readonly index: number; readonly term: number } {
    this.#values.set(key, { value, index: ++this.#index });
    this.#changes.set(this.#index);
    return { index: this.#index, term: 2 };
  }

  /** Adds serial output and wakes readers. */
  print(text: string): void {
    this.#output += text;
    for (const wake of this.#wake.splice(0)) wake();
  }

  async call(name: MethodName, request: unknown, meta: CallMeta): Promise<never> {
    this.calls.push({ name, request, meta });
    authorize(name, methods[name].access, meta.access);
    const parsed = methods[name].request.safeParse(request);
    if (!parsed.success) throw new BlixardError("INVALID_ARGUMENT", parsed.error.issues[0]?.message ?? "");
    const handler = this.#handlers[name] as ((request: unknown) => unknown) | undefined;
    if (handler === undefined) throw new BlixardError("UNSUPPORTED", name);
    return (await handler(parsed.data)) as never;
  }

  /** Keys and VMs as they change, and the console: what goes in is printed, and what is printed comes out. */
  async stream<Name extends StreamName>(
    method: Name,
    request: unknown,
    meta: CallMeta,
    scope: { readonly signal: AbortSignal; readonly input?: AsyncIterable<unknown> },
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    authorize(method, streams[method].access, meta.access);
    const parsed = streams[method].request.safeParse(request);
    if (!parsed.success) throw new BlixardError("INVALID_ARGUMENT", parsed.error.issues[0]?.message ?? "");
    const life = linkSignal(scope.signal);
    const items = await this.#items(method, parsed.data, meta, { ...scope, signal: life.signal });
    this.#lives.add(life);
    this.open.set(this.#lives.size);
    const end = () => {
      this.#lives.delete(life);
      this.open.set(this.#lives.size);
    };
    return endedBy(items, end) as AsyncIterable<StreamOutputOf<Name>>;
  }

  /** Ends all streams, as a node does that stops. */
  endStreams(error: BlixardError): void {
    for (const life of [...this.#lives]) life.abort(error);
  }

  async #items(
    method: StreamName,
    request: unknown,
    meta: CallMeta,
    { signal, input }: { readonly signal: AbortSignal; readonly input?: AsyncIterable<unknown> },
  ): Promise<AsyncIterable<unknown>> {
    if (method === "kv.watch") return this.#keys((request as { readonly prefix: string }).prefix, signal);
    if (method === "vm.watch") return this.#watchedVms((request as { readonly name?: string }).name, signal);
    const { name, offset } = request as { readonly name: string; readonly offset: number };
    if (method === "vm.forward") return forwarded(request as ForwardRequest, input);
    await this.call("vm.consoleRead", { name, offset, waitMs: 0 }, meta);
    const write = async () => {
      for await (const data of input ?? []) this.print(Buffer.from(data as Uint8Array).toString());
    };
    void write();
    onAbort(signal, () => this.print(""));
    return this.#pieces(offset, signal);
  }

  async *#keys(prefix: string, signal: AbortSignal) {
    const seen = new Map<string, number>();
    for (let first = true; ; first = false) {
      const looked = this.#changes.value;
      const entries = [...this.#values].filter(([key]) => key.startsWith(prefix));
      yield* kvChanges(seen, new Map(entries.map(([key, entry]) => [key, { key, ...entry }])));
      if (first) yield { type: "current" };
      await this.#changes.until((index) => index !== looked, { signal });
    }
  }

  async *#watchedVms(name: string | undefined, signal: AbortSignal) {
    const seen = new Map<string, number>();
    for (let first = true; ; first = false) {
      const looked = this.vms.value;
      const names = name === undefined ? new Set([vmRecord.name, ...looked.keys()]) : [name];
      const present = [...names].flatMap((each) => this.#vm(each) ?? []);
      yield* vmChanges(seen, new Map(present.map((vm) => [vm.name, vm])));
      if (first) yield { type: "current" };
      await this.vms.until((vms) => vms !== looked, { signal });
    }
  }

  #vm(name: string): VmRecord | undefined {
    return this.vms.value.has(name) ? this.vms.value.get(name) : { ...vmRecord, name };
  }

  async *#pieces(start: number, signal: AbortSignal) {
    let from = start < 0 ? Math.max(0, this.#output.length + start) : start;
    while (!signal.aborted) {
      const data = new Uint8Array(Buffer.from(this.#output.slice(from)));
      if (data.length > 0) yield { offset: from, data };
      else await new Promise<void>((resolve) => this.#wake.push(resolve));
      from += data.length;
    }
  }

  authenticate(token: string): Caller | undefined {
    if (this.revoked.has(token)) return undefined;
    if (token === "admin-token") return { actor: { kind: "token", id: "a" }, access: "admin" };
    if (token === "viewer-token") return { actor: { kind: "token", id: "v" }, access: "viewer" };
    return undefined;
  }

  ready(): Readiness {
    return this.readiness;
  }
}

async function* endedBy<T>(items: AsyncIterable<T>, onEnd: () => void): AsyncGenerator<T> {
  try {
    yield* items;
  } finally {
    onEnd();
  }
}

const identity = {
  clusterId: "cluster",
  nodeId: 1,
  endpointId: "e".repeat(64),
  addresses: ["127.0.0.1:7001"],
  version: "0",
};

/** A VM that runs. */
export const vmRecord: VmRecord = {
  name: "web",
  vmId: "00000000-0000-4000-8000-000000000001",
  spec: vmSpecSchema.parse({ memoryMiB: 64, image: "demo" }),
  desired: "running",
  phase: "Running",
  node: 2,
  fencingEpoch: 3,
  conditions: [],
  reason: "",
  message: "",
  driver: "fake",
  guest: "ready",
  restarts: 0,
  placement: "most free memory",
  createdUnixMs: 1,
  updatedUnixMs: 2,
  createdIndex: 3,
  updatedIndex: 4,
  ends: [
    {
      unixMs: 1_000,
      reason: "host-reboot",
      message: "the host was started anew",
      stoppedBy: "host",
      fencingEpoch: 3,
      node: 2,
    },
  ],
};

interface ForwardRequest {
  readonly port: number;
  readonly network?: string;
}

/** A guest that gives back what it gets, then its length, and the network that was asked for; at port 13 it goes away in between, and at others it is not there. */
function forwarded(
  { port, network = "" }: ForwardRequest,
  input: AsyncIterable<unknown> = nothing(),
): AsyncIterable<unknown> {
  if (port !== 7 && port !== 13) throw new BlixardError("GUEST_UNREACHABLE", "the connection is refused");
  return (async function* () {
    let length = 0;
    for await (const data of input) {
      length += (data as Uint8Array).length;
      yield { data, ended: false };
      if (port === 13) throw new BlixardError("GUEST_UNREACHABLE", "the guest has reset the connection");
    }
    yield { data: new Uint8Array(Buffer.from(`${length}${network}`)), ended: false };
    yield { data: new Uint8Array(0), ended: true };
  })();
}

async function* nothing(): AsyncGenerator<never> {}
