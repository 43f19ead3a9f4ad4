/** One running node: its data directory, ports, transport, VM manager and cluster node, put together and taken apart. */
import { createHash, hash, randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { BulkIrohSettings, OpenBulkObject } from "@blixard/bulk";
import { type ClusterNode, type JoinSeed, type StartMode, startClusterNode } from "@blixard/cluster";
import { BlixardError, directAddresses, hostOf, isLoopbackHost, type Logger, messageOf, toHex } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createConsoleSockets, createHttpApp, type HttpDeps, type NodeService } from "@blixard/http-api";
import { loadOrCreateNodeKey, type NodeKey, NodeTls } from "@blixard/identity";
import { openLevelStorage } from "@blixard/storage/level";
import { createTransport } from "@blixard/transport";
import { startVmManager, type VmManager } from "@blixard/vm-manager";
import { type Finders, openFinders } from "../discovery/open-finders.ts";
import type { NodeConfig } from "../node-settings.ts";
import { blixardVersion } from "../version.ts";
import { Closers } from "./closers.ts";
import {
  checkEndpointId,
  type DataDir,
  loadOrCreateToken,
  openDataDir,
  removeRuntimeFile,
  writeNodeFile,
  writeRuntimeFile,
} from "./data-dir.ts";
import { MembersFile, readMembers, writeMembers } from "./members-file.ts";
import type { CreateAdapter } from "./node-adapter.ts";
import { createNodeBulk, type NodeBulk } from "./node-bulk.ts";
import { operatorFilesOf } from "./operator-files.ts";
import { type BoundPorts, bindPorts, type NodeHandlers, ownHosts } from "./ports.ts";
import { createPromMetrics, type PromMetrics } from "./prom-metrics.ts";
import type { ReadyLine } from "./ready-line.ts";
import { removeRecovery } from "./recovery-file.ts";
import { ServedNodeHolder } from "./served-node-holder.ts";
import { findData, planStart, refuseLostStore, refuseSecondLife, type StartPlan } from "./start-mode.ts";
import { chooseVmDrivers } from "./vm-drivers.ts";

export interface StartNodeDeps {
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A ticket comes from here with `--join-file -`. */
  readonly stdin: Readable;
  /** For the person at the terminal. */
  readonly say: (text: string) => void;
  /** Gives up a start that is under way. */
  readonly signal: AbortSignal;
  /** Called when the node must stop: the process ends with the exit code of the error. */
  readonly onFatal: (error: unknown) => void;
  /** What carries the traffic between nodes. Default: what `config.transport` names. */
  readonly createAdapter?: CreateAdapter;
}

export interface RunningNode {
  readonly ready: ReadyLine;
  /** Hands leadership over, finishes what runs, and closes everything in order. */
  stop(): Promise<void>;
  /** Closes what can be closed after a fatal error. */
  abandon(): Promise<void>;
}

const httpGraceMs = 1_500;
const handOverMs = 2_000;
const joinTimeoutMs = 60_000;
const readyTimeoutMs = 30_000;
const certificateCheckMs = 3_600_000;

/** Starts a node. Resolves when it serves. @throws DATA_DIR_*, KEY_FILE_TOO_OPEN, PORT_IN_USE, TICKET_*, ... */
export async function startNode(config: NodeConfig, deps: StartNodeDeps): Promise<RunningNode> {
  const dataDir = await openDataDir({ id: config.id, dataDir: config.dataDir }, deps.env);
  const closers = new Closers(deps.logger);
  try {
    return await new NodeAssembly(config, deps, dataDir, closers).start();
  } catch (error) {
    await closers.close();
    throw error;
  }
}

class NodeAssembly {
  readonly #config: NodeConfig;
  readonly #deps: StartNodeDeps;
  readonly #dataDir: DataDir;
  readonly #closers: Closers;
  readonly #metrics: PromMetrics = createPromMetrics();
  #node: ClusterNode | undefined;
  #service: NodeService | undefined;
  #blobs: VmManager["images"] | undefined;
  #bulk: NodeBulk | undefined;
  #storageError: string | null = null;
  #clusterId: string;

  constructor(config: NodeConfig, deps: StartNodeDeps, dataDir: DataDir, closers: Closers) {
    this.#config = config;
    this.#deps = deps;
    this.#dataDir = dataDir;
    this.#closers = closers;
    this.#clusterId = dataDir.nodeFile?.clusterId ?? "";
  }

  async start(): Promise<RunningNode> {
    const { logger, signal } = this.#deps;
    const found = await findData(this.#dataDir);
    refuseLostStore(this.#config, this.#dataDir, found);
    // The store is opened first because its lock is the lock of the whole directory.
    const storage = await openLevelStorage({ dataDir: this.#dataDir.path, logger, metrics: this.#metrics });
    this.#closers.add("storage", () => storage.close());
    const key = await loadOrCreateNodeKey(join(this.#dataDir.path, "node.key"));
    checkEndpointId(this.#dataDir, key.endpointId);
    await refuseSecondLife(this.#dataDir, found, key.endpointId, signal);
    const token = await loadOrCreateToken(this.#dataDir, systemRandom);
    const plan = await planStart(this.#config, this.#dataDir, found, {
      stdin: this.#deps.stdin,
      clock: systemClock,
      signal,
    });
    const loadOperator = operatorFilesOf(this.#config);
    const options = loadOperator === undefined ? {} : { loadOperator };
    const tls = new NodeTls({ clock: systemClock, secretKey: key.seed, ...options });
    const ports = await this.#bind(key, tls);
    const how = await this.#startMode(plan, key, token);
    const node = await this.#startClusterNode(ports, storage, key, tls, how);
    this.#service = serviceOf(node, this.#dataDir.nodeId, token);
    await this.#settle(node, plan, key, ports);
    this.#watch(node);
    this.#announce(plan, ports);
    const ready: ReadyLine = {
      event: "ready",
      nodeId: this.#dataDir.nodeId,
      endpointId: key.endpointId,
      clusterId: this.#clusterId,
      bind: ports.bind,
      http: ports.http,
      pid: process.pid,
    };
    return { ready, stop: () => this.#stop(), abandon: () => this.#closers.close() };
  }

  async #bind(key: NodeKey, tls: NodeTls): Promise<BoundPorts> {
    const options = { version: blixardVersion, debugApi: this.#config.debugApi, allowedHosts: ownHosts(this.#config) };
    const httpDeps = this.#httpDeps(key);
    const consoles = createConsoleSockets(httpDeps, options);
    const onBulk: NodeHandlers["onBulk"] = (socket) => {
      if (this.#bulk === undefined) socket.destroy();
      else this.#bulk.lane.accept(socket);
    };
    const handlers = { onRequest: createHttpApp(httpDeps, options), onUpgrade: consoles.onUpgrade, onBulk };
    const ports = await bindPorts(this.#config, key.seed, tls, handlers, this.#deps.createAdapter);
    this.#closers.add("endpoint", () => ports.adapter.close());
    // Whoever asks for the certificates makes them anew when it is time.
    const renewal = setInterval(() => tls.shown(), certificateCheckMs);
    renewal.unref();
    this.#closers.add("http", async () => {
      clearInterval(renewal);
      consoles.close();
      await Promise.all([ports.tls.close(httpGraceMs), ports.plain?.close(httpGraceMs)]);
    });
    return ports;
  }

  #httpDeps(key: NodeKey): HttpDeps {
    return {
      clock: systemClock,
      random: systemRandom,
      logger: this.#deps.logger,
      metrics: this.#metrics,
      nodeId: this.#dataDir.nodeId,
      endpointId: key.endpointId,
      service: () => this.#service,
      blobs: () => this.#blobs,
      clusterId: () => this.#clusterId,
      storageHealthy: () => this.#storageError === null,
      metricsText: () => this.#metrics.text(),
    };
  }

  async #startClusterNode(
    ports: BoundPorts,
    storage: Awaited<ReturnType<typeof openLevelStorage>>,
    key: NodeKey,
    tls: NodeTls,
    how: StartMode,
  ): Promise<ClusterNode> {
    const shared = {
      clock: systemClock,
      random: systemRandom,
      logger: this.#deps.logger,
      metrics: this.#metrics,
    };
    const { nodeId } = this.#dataDir;
    const { maxFrameBytes, electionTimeoutMs, heartbeatMs, snapshotEntries, joinPolicy, vmDriver, advertise } =
      this.#config;
    const { storeId, starts } = storage;
    const served = new ServedNodeHolder();
    const transport = createTransport(
      { ...shared, adapter: ports.adapter, onOutdated: (error) => this.#fatal(error) },
      {
        nodeId,
        frameBytesMax: maxFrameBytes,
        isClientKey: (endpointId) => served.node.isClientKey(endpointId),
        start: () => served.node.start(),
      },
    );
    await transport.start(
      (call, signal) => {
        const { method, payload, remote } = call;
        const ofBulk = this.#bulk?.lane.rpcMethods.get(method);
        if (ofBulk !== undefined) return ofBulk(remote.endpointId, payload);
        return served.node.call(call, signal);
      },
      (call, signal) => served.node.stream(call, signal),
    );
    this.#closers.add("transport", () => transport.close());
    const { snapshots } = storage;
    const { path: dataDir } = this.#dataDir;
    const images: OpenBulkObject = async (id) => this.#blobs?.find(id);
    const iroh = this.#irohSettings(ports);
    const bulk = createNodeBulk({ ...shared, transport, secretKey: key.seed, iroh, dataDir, snapshots, images });
    this.#bulk = bulk;
    this.#closers.add("bulk lane", () => bulk.lane.close());
    const members = new MembersFile(this.#dataDir.path, this.#deps.logger);
    this.#closers.add("members file", () => members.close());
    const finders = this.#openFinders(transport.endpointId, ports);
    const node = await startClusterNode(
      {
        ...shared,
        sha256: (bytes) => hash("sha256", bytes, "buffer"),
        log: storage.log,
        snapshots,
        snapshotCarrier: bulk.snapshotCarrier,
        bulkRoutes: () => bulk.lane.routes(),
        stateStore: storage.state,
        transport: served.serveOver(transport),
        startVmManager: async () => {
          const vmManager = await startVmManager(
            { ...shared, fetchBlob: bulk.fetchBlob },
            { dataDir: join(dataDir, "vms"), ...(await chooseVmDrivers(vmDriver, shared)) },
          );
          this.#blobs = vmManager.images;
          return vmManager;
        },
        store: { storeId, starts },
        finders: finders.all,
        certificates: { list: () => tls.certificates(), rotate: () => tls.rotate() },
        onMembers: (seed) => members.keep(seed),
        storageHealth: () => ({
          healthy: this.#storageError === null,
          lastError: this.#storageError,
          ...storage.health,
        }),
        onFatal: (error) => this.#fatal(error),
      },
      {
        nodeId,
        version: blixardVersion,
        joinPolicy,
        ...(advertise.length > 0 ? { advertisedAddresses: advertise } : {}),
        raft: { electionTimeoutMs, heartbeatIntervalMs: heartbeatMs, snapshotEntries },
      },
      how,
      { signal: this.#deps.signal },
    );
    this.#node = node;
    this.#closers.add("node", () => node.close());
    return node;
  }

  /** Bulk data may go over Iroh where the node does. */
  #irohSettings({ adapter, bind }: BoundPorts): BulkIrohSettings | undefined {
    const { relay, relayUrls, discovery } = this.#config;
    return adapter.kind === "iroh" || adapter.kind === "dual" ? { bind, relay, relayUrls, discovery } : undefined;
  }

  #openFinders(endpointId: string, ports: BoundPorts): Finders {
    const { advertise } = this.#config;
    const finders = openFinders(this.#config, ports.adapter.kind, {
      clusterId: () => this.#clusterId,
      endpointId,
      addresses: advertise.length > 0 ? advertise : directAddresses(ports.adapter.addresses()),
      bind: ports.bind,
      logger: this.#deps.logger,
    });
    this.#closers.add("finders", () => finders.close());
    return finders;
  }

  async #startMode(plan: StartPlan, key: NodeKey, token: string): Promise<StartMode> {
    const nodeName = this.#config.name === undefined ? {} : { nodeName: this.#config.name };
    switch (plan.type) {
      case "bootstrap": {
        const tokenHash = toHex(createHash("sha256").update(token).digest());
        return { mode: "bootstrap", clusterId: randomUUID(), tokenHash, ...nodeName };
      }
      case "join":
        if (plan.byAddress !== undefined) {
          const local = [plan.byAddress, this.#config.bind].every((text) => isLoopbackHost(hostOf(text)));
          const how = local ? "both are loopback addresses" : "somebody has to accept it there";
          this.#deps.say(`joining ${plan.byAddress} without a ticket: ${how}`);
        }
        return {
          mode: "join",
          target: plan.target,
          ...nodeName,
          timeoutMs: joinTimeoutMs,
          onPending: () => this.#sayPending(plan, key),
          onAdmitted: (seed) => this.#keepSeed(seed, key),
        };
      case "resume": {
        if (plan.ignoredJoin) this.#deps.logger.log("info", "the node is in its cluster already; --join is not needed");
        const seed = await readMembers(this.#dataDir.path);
        return seed === undefined ? { mode: "resume" } : { mode: "resume", seed };
      }
      default:
        return plan satisfies never;
    }
  }

  #sayPending({ byAddress, target }: Extract<StartPlan, { readonly type: "join" }>, { endpointId }: NodeKey): void {
    const { say } = this.#deps;
    const [asked] = target.endpoints;
    say("This node waits until an operator of the cluster accepts it. Its key is");
    say(`  ${endpointId}`);
    say(`and ${byAddress ?? "the node that was asked"} showed the key ${asked?.endpointId ?? "of no node"}.`);
    say(`On a member:  blixard cluster add ${endpointId}`);
  }

  /** Durable before the node takes part: a crash from here on must not ask for a second admission. */
  async #keepSeed(seed: JoinSeed, key: NodeKey): Promise<void> {
    await writeMembers(this.#dataDir.path, seed);
    await this.#writeNodeFile(seed.clusterId, key);
    await removeRecovery(this.#dataDir.path);
  }

  async #writeNodeFile(clusterId: string, key: NodeKey): Promise<void> {
    this.#clusterId = clusterId;
    await writeNodeFile(this.#dataDir, {
      formatVersion: 1,
      nodeId: this.#dataDir.nodeId,
      clusterId,
      endpointId: key.endpointId,
      createdUnixMs: systemClock.unixMs(),
    });
  }

  /** What is left to do between "started" and "serves". A restart does not wait for the others: they may wait for it. */
  async #settle(node: ClusterNode, plan: StartPlan, key: NodeKey, ports: BoundPorts): Promise<void> {
    if (plan.type === "bootstrap") await this.#writeNodeFile(node.status().clusterId, key);
    if (plan.type !== "resume") {
      const signal = AbortSignal.any([this.#deps.signal, AbortSignal.timeout(readyTimeoutMs)]);
      await node.untilReady({ signal }).catch((error: unknown) => {
        if (this.#deps.signal.aborted || node.lifecycle.value.error !== undefined) throw error;
        this.#deps.logger.log("warn", "serving, but not caught up with the leader yet", {
          reason: node.ready().reason,
        });
      });
    }
    const { nodeId } = this.#dataDir;
    const runtime = { pid: process.pid, nodeId, clusterId: this.#clusterId, endpointId: key.endpointId };
    await writeRuntimeFile(this.#dataDir, { ...runtime, bind: ports.bind, http: ports.http });
    this.#closers.add("runtime file", () => removeRuntimeFile(this.#dataDir));
  }

  /** The others may let this node go while it runs. */
  #watch(node: ClusterNode): void {
    node.lifecycle
      .until(({ phase }) => phase === "removed" || phase === "failed" || phase === "closed")
      .then(({ phase, error }) => {
        if (phase !== "closed") this.#fatal(error ?? new BlixardError("INTERNAL", `the node is ${phase}`));
      });
  }

  #announce(plan: StartPlan, ports: BoundPorts): void {
    const { logger, say } = this.#deps;
    logger.log("info", "serving", {
      nodeId: this.#dataDir.nodeId,
      clusterId: this.#clusterId,
      bind: ports.bind,
      http: ports.http,
    });
    if (ports.plain !== undefined && !isLoopbackHost(hostOf(ports.plain.address))) {
      logger.log("warn", "other machines reach the plain HTTP API, and tokens cross the network as they are", {
        http: ports.http,
        hint: `Leave --http on loopback: ${ports.bind} serves the same over TLS.`,
      });
    }
    if (plan.type !== "bootstrap") return;
    say(`This is a new cluster, ${this.#clusterId}. Another node joins it`);
    say(`  on this machine:  blixard node --id 2 --bind 127.0.0.1:7002 --join ${ports.bind}`);
    say("  on another one:   blixard ticket create, and there: blixard node --id 2 --bind HOST:PORT --join-file FILE");
  }

  #fatal(error: unknown): void {
    this.#storageError ??= messageOf(error);
    this.#deps.onFatal(error);
  }

  async #stop(): Promise<void> {
    const { stopVms } = this.#config;
    const node = this.#node;
    // Leadership first, while this node still answers: the others then have a leader before it is gone.
    this.#closers.add("leadership", async () => {
      await node?.shutdown({ handOverMs, stopVms });
    });
    await this.#closers.close();
  }
}

/** The token in this data directory is good at this node, also when the cluster does not know it. */
function serviceOf(node: ClusterNode, nodeId: number, token: string): NodeService {
  const hash = createHash("sha256").update(token).digest();
  const own = { actor: { kind: "token", id: `node-${nodeId}` }, access: "admin" } as const;
  return {
    call: (name, request, meta) => node.call(name, request, meta),
    stream: (name, request, meta, scope) => node.stream(name, request, meta, scope),
    ready: () => node.ready(),
    authenticate: async (given) => {
      const known = await node.authenticate(given);
      if (known !== undefined) return known;
      return createHash("sha256").update(given).digest().equals(hash) ? own : undefined;
    },
  };
}
