import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type BlixardClient, connectClient, ownStatusTarget, readLocalNode } from "@blixard/client";
import { BlixardError, messageOf } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { endpointIdOfSeed } from "@blixard/identity";
import type { NodeStatus } from "@blixard/protocol";
import {
  type CreateAdapter,
  createNodeAdapter,
  type NodeConfig,
  nodeSettings,
  type ReadyLine,
  type RunningNode,
  type SettingName,
  startNode,
} from "@blixard/server";
import { createMemoryNetwork, type MemoryNetwork } from "@blixard/transport/memory";
import { createFaultyAdapter, type FaultyAdapter } from "@blixard/transport/testing";
import { LogRing } from "./log-ring.ts";

export type TestTransport = "iroh" | "grpc" | "dual" | "memory";

export interface TestNodeOptions {
  /** Default: 1. */
  readonly id?: number;
  /** Default: "iroh", the real one on loopback. */
  readonly transport?: TestTransport;
  /** The network of a node over memory; nodes of one cluster share it. */
  readonly network?: MemoryNetwork;
  /** Default: a temporary directory that `stop` keeps and `dispose` removes. */
  readonly dataDir?: string;
  /** A ticket. Absent: a new cluster of one node. */
  readonly join?: string;
  /** Further settings of the node. */
  readonly config?: Partial<NodeConfig>;
}

/** Makes a node step by step; `build` starts it. */
export class TestNodeBuilder {
  #options: TestNodeOptions = {};

  withId(id: number): this {
    return this.#with({ id });
  }
  withTransport(transport: TestTransport): this {
    return this.#with({ transport });
  }
  withNetwork(network: MemoryNetwork): this {
    return this.#with({ network });
  }
  withDataDir(dataDir: string): this {
    return this.#with({ dataDir });
  }
  withJoin(ticket: string): this {
    return this.#with({ join: ticket });
  }
  withConfig(config: Partial<NodeConfig>): this {
    return this.#with({ config: { ...this.#options.config, ...config } });
  }

  /** Starts the node; resolves when it serves. */
  build(): Promise<TestNode> {
    return TestNode.start(this.#options);
  }

  #with(more: TestNodeOptions): this {
    this.#options = { ...this.#options, ...more };
    return this;
  }
}

/**
 * A whole node inside this process: the same parts as in the binary, with a real data directory and real ports, all of
 * them free ones on loopback. VMs run on the fake driver unless the configuration says otherwise.
 */
export class TestNode implements AsyncDisposable {
  readonly #options: TestNodeOptions & { readonly dataDir: string };
  readonly #temporary: boolean;
  readonly #logs = new LogRing();
  #running: RunningNode | undefined;
  #ready: ReadyLine | undefined;
  #adapter: FaultyAdapter | undefined;
  #blocked: ReadonlySet<string> = new Set();
  #fatal: unknown;
  #end: (error: unknown) => void = () => {};
  /** Resolves with the reason when the node stops for good by itself: it was removed, or its disk failed. */
  readonly ended: Promise<unknown> = new Promise((resolve) => {
    this.#end = resolve;
  });

  private constructor(options: TestNodeOptions & { readonly dataDir: string }, temporary: boolean) {
    this.#options = options;
    this.#temporary = temporary;
  }

  static builder(): TestNodeBuilder {
    return new TestNodeBuilder();
  }

  static async start(options: TestNodeOptions = {}): Promise<TestNode> {
    const temporary = options.dataDir === undefined;
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "blixard-node-")));
    const network = options.network ?? createMemoryNetwork({ clock: systemClock, random: systemRandom });
    const node = new TestNode({ ...options, dataDir, network }, temporary);
    try {
      await node.#start();
      return node;
    } catch (error) {
      await node.dispose();
      throw new BlixardError("UNAVAILABLE", `node ${node.id} did not start: ${messageOf(error)}`, {
        cause: error,
        hint: node.diagnostics(),
      });
    }
  }

  get id(): number {
    return this.#options.id ?? 1;
  }
  get dataDir(): string {
    return this.#options.dataDir;
  }
  /** `host:port` of the bind port, for RetryClient and for other nodes. */
  get address(): string {
    return this.#serving().bind;
  }
  /** `http://host:port` of the plain HTTP API. */
  get http(): string {
    return this.#serving().http;
  }
  get endpointId(): string {
    return this.#serving().endpointId;
  }
  get clusterId(): string {
    return this.#serving().clusterId;
  }

  isRunning(): boolean {
    return this.#running !== undefined && this.#fatal === undefined;
  }

  /** A client of this node with its administrator's token, over TLS with the node's key pinned. Yours to close. */
  async client(): Promise<BlixardClient> {
    const { bind, endpointId } = this.#serving();
    return connectClient({
      addresses: [{ address: bind, pin: endpointId, token: await this.token() }],
      timeoutMs: 60_000,
    });
  }

  /** The administrator's token of this node, which is a voter. */
  async token(): Promise<string> {
    return (await readFile(join(this.dataDir, "admin.token"), "utf8")).trim();
  }

  /** What the node says of itself, without a quorum. */
  async status(): Promise<NodeStatus> {
    const node = await readLocalNode(this.dataDir);
    const own = node === undefined ? undefined : ownStatusTarget(node);
    if (own === undefined) throw new BlixardError("UNAVAILABLE", `node ${this.id} is not running`);
    await using client = connectClient({ addresses: [own] });
    return await client.status({ timeoutMs: 5_000 });
  }

  /** Cuts this node off from exactly these endpoints, in both directions, and heals the rest. */
  setBlocked(endpointIds: Iterable<string>): void {
    this.#blocked = new Set(endpointIds);
    this.#adapter?.setBlocked(this.#blocked);
  }

  /** Whether this node was cut off from `endpointId`. */
  isBlockedFrom(endpointId: string): boolean {
    return this.#blocked.has(endpointId);
  }

  /** Stops the node in order; its data stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
  }

  /** Starts the node again on its data directory and its bind port. */
  async restart(): Promise<void> {
    await this.stop();
    await this.#start();
  }

  /** Stops the node and removes its data if it was temporary. */
  async dispose(): Promise<void> {
    await this.stop();
    if (this.#temporary) await rm(this.dataDir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** The last log lines. */
  diagnostics(lines = 40): string {
    return this.#logs.tail(lines);
  }

  #serving(): ReadyLine {
    if (this.#ready === undefined) throw new BlixardError("UNAVAILABLE", `node ${this.id} is not running`);
    return this.#ready;
  }

  async #start(): Promise<void> {
    this.#fatal = undefined;
    this.#blocked = new Set();
    const first = this.#ready === undefined;
    const { transport = "iroh" } = this.#options;
    const config: NodeConfig = {
      ...defaultConfig(),
      bind: this.#ready?.bind ?? "127.0.0.1:0",
      http: "127.0.0.1:0",
      vmDriver: "fake",
      debugApi: true,
      ...(transport === "memory" ? {} : { transport }),
      ...this.#options.config,
      id: this.id,
      dataDir: this.dataDir,
      join: first ? this.#options.join : undefined,
    };
    this.#running = await startNode(config, {
      logger: this.#logs,
      env: {},
      stdin: Readable.from([]),
      say: () => {},
      signal: new AbortController().signal,
      onFatal: (error) => {
        this.#fatal = error;
        this.#end(error);
        this.#logs.log("error", "the node stopped for good", { error: messageOf(error) });
      },
      createAdapter: this.#createAdapter,
    });
    this.#ready = this.#running.ready;
  }

  readonly #createAdapter: CreateAdapter = async (options) => {
    if (this.#options.transport !== "memory") {
      this.#adapter = createFaultyAdapter(await createNodeAdapter(options));
    } else {
      const network = this.#options.network;
      if (network === undefined) throw new BlixardError("INTERNAL", "a node over memory needs a network");
      this.#adapter = createFaultyAdapter(network.createAdapter({ endpointId: endpointIdOfSeed(options.secretKey) }));
    }
    return this.#adapter;
  };
}

function defaultConfig(): NodeConfig {
  const entries = Object.entries(nodeSettings) as [SettingName, { readonly fallback: unknown }][];
  return Object.fromEntries(entries.map(([name, { fallback }]) => [name, fallback])) as NodeConfig;
}
