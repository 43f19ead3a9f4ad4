/**
 * The start of a node, in named steps. Each needs what the ones before it have opened; one that fails closes all of that
 * in the reverse order:
 *
 *     open the node's data   -> store, key; how it is to start
 *     bind the ports         -> HTTP answers "the node is starting" from here on
 *     open the transport     -> so do calls of other nodes
 *     start the cluster node -> others are answered; the VMs run
 *     serve                  -> HTTP answers everything
 *     settle                 -> caught up, where that does not wait for others; the runtime file says where it serves
 */
import { hash, randomUUID, timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type ClusterNode, type HeldBackNode, type JoinSeed, type StartMode, startClusterNode } from "@blixard/cluster";
import {
  BlixardError,
  CloseStack,
  directAddresses,
  formatHostPort,
  hostOf,
  isLoopbackHost,
  type Logger,
  messageOf,
  notApplied,
  toHex,
  withTimeLimit,
} from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createHttpApi, type HttpApi, type HttpDeps, type NodeService } from "@blixard/http-api";
import {
  checkOperatorTls,
  createSealing,
  createSignatures,
  NodeTls,
  type OperatorTls,
  ticketCrypto,
} from "@blixard/identity";
import { createTransport, type Transport } from "@blixard/transport";
import { startVmManager, type VmManager } from "@blixard/vm-manager";
import { openFinders } from "../discovery/open-finders.ts";
import { carrierProgram, NetworkLanes } from "../networks/network-lanes.ts";
import { confinementOf, type NodeConfig, parseRestartGraceMs } from "../node-settings.ts";
import { blixardVersion } from "../version.ts";
import { sayAttempt, sayJoining, sayPending, sayServing, warnOfManyAddresses } from "./announce.ts";
import { Comeback } from "./comeback.ts";
import { refuseForeignDataDir, removeRuntimeFile, writeRuntimeFile } from "./data-dir.ts";
import { LocalJoinsFile } from "./local-joins.ts";
import { MembersFile, readMembers, writeMembers } from "./members-file.ts";
import type { CreateAdapter } from "./node-adapter.ts";
import { createNodeBulk, type NodeBulk } from "./node-bulk.ts";
import { type NodeData, openNodeData } from "./node-data.ts";
import { nodeKeyRotation } from "./node-key-file.ts";
import { operatorFilesOf } from "./operator-files.ts";
import { type BoundPorts, bindPorts, ownHosts } from "./ports.ts";
import { createPromMetrics } from "./prom-metrics.ts";
import type { ReadyLine } from "./ready-line.ts";
import { removeRecovery } from "./recovery-file.ts";
import { localToken, readOrMakeToken } from "./token-files.ts";
import { chooseVmDrivers } from "./vm-drivers.ts";

export interface StartNodeDeps extends Pick<HttpDeps, "page"> {
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
  /**
   * Called once when the key file holds another key: stop the node and start it again, with the ports of `again`. Default: the
   * node keeps its key.
   */
  readonly onNewKey?: (again: Pick<NodeConfig, "bind" | "http">) => void;
  /** What carries the traffic between nodes. Default: what `config.transport` names. */
  readonly createAdapter?: CreateAdapter;
}

export interface RunningNode {
  readonly ready: ReadyLine;
  /** Hands leadership over, finishes what runs, and closes everything in order. VMs stay where the node starts again at once. */
  stop(options?: { readonly again?: boolean }): Promise<void>;
  /** Closes what can be closed after a fatal error. */
  abandon(): Promise<void>;
}

const httpGraceMs = 1_500;
const handOverMs = 2_000;
const joinTimeoutMs = 60_000;
const readyTimeoutMs = 30_000;
const certificateCheckMs = 3_600_000;

/** What every step uses. */
type Base = ReturnType<typeof createBase>;

/** Starts a node. Resolves when it serves. @throws DATA_DIR_*, KEY_FILE_TOO_OPEN, PORT_IN_USE, TICKET_*, ... */
export async function startNode(config: NodeConfig, deps: StartNodeDeps): Promise<RunningNode> {
  const comeback = new Comeback(config, deps);
  try {
    return await startOnce(config, deps);
  } catch (error) {
    await comeback.after(error);
  }
  // The members are known better here than in the flags, and a ticket on standard input was read.
  const again = { ...config, join: undefined, joinFile: undefined };
  for (;;) {
    try {
      return await startOnce(again, deps);
    } catch (error) {
      await comeback.after(error);
    }
  }
}

async function startOnce(config: NodeConfig, deps: StartNodeDeps): Promise<RunningNode> {
  const opened = new CloseStack(deps.logger);
  // What cannot be closed stands in the log.
  const abandon = () => opened.close().catch(() => {});
  // A start that fails says why by itself, and another one may follow.
  let end: ((error: unknown) => void) | undefined;
  let early: { readonly error: unknown } | undefined;
  const onFatal = (error: unknown) => {
    if (end !== undefined) end(error);
    else early ??= { error };
  };
  try {
    const node = await start(createBase(config, { ...deps, onFatal }, opened), abandon);
    end = deps.onFatal;
    if (early !== undefined) end(early.error);
    return node;
  } catch (error) {
    await abandon();
    throw error;
  }
}

async function start(base: Base, abandon: () => Promise<void>): Promise<RunningNode> {
  const { config, deps, opened } = base;
  const loadOperator = operatorFilesOf(config);
  // What is wrong with the arguments is found before anything is made.
  if (loadOperator !== undefined) checkOperatorTls(loadOperator(), base.clock);
  const data = await openNodeData(config, { ...deps, metrics: base.metrics }, opened);
  const tls = tlsOf(data, loadOperator);
  const http = createApi(base, data);
  const ports = await bind(base, data, tls, http);
  const transport = createNodeTransport(base, data, ports);
  const bulk = openBulk(base, data, { tls, ports, transport });
  const networks = openNetworks(base, transport);
  await transport.start();
  const ownStatusToken = await localToken(data.dataDir, systemRandom);
  const localJoins = createLocalJoins(base, data);
  const node = await startMember(base, {
    ...{ data, tls, ports, transport, bulk, networks, http, localJoins },
    localToken: ownStatusToken,
  });
  // From here on somebody may be served: the next start has to know by which cluster.
  if (data.cluster.id === "") await data.cluster.enter(node.status().clusterId);
  await openLocalJoins(base, localJoins, ports, node);
  http.serve(serviceOf(node, ownStatusToken));
  await settle(base, data, node);
  const ready = await tellWhere(base, data, ports);
  stopWithTheCluster(base, node);
  sayServing(deps, data.plan, ports, ready);
  warnOfManyAddresses(deps.logger, config, ports);
  return {
    ready,
    stop: async ({ again = false } = {}) => {
      // Leadership first, while this node still answers: the others then have a leader before it is gone.
      opened.add("leadership", () => stopMember(node, config, again));
      await abandon();
    },
    abandon,
  };
}

/** The VMs run on while the node is away: the cluster waits for it. */
function stopMember(node: ClusterNode, config: NodeConfig, again: boolean): Promise<void> {
  const restartGraceMs = parseRestartGraceMs(config.restartGrace) ?? 0;
  return node.shutdown({ handOverMs, restartGraceMs, stopVms: config.stopVms && !again });
}

function createBase(config: NodeConfig, deps: StartNodeDeps, opened: CloseStack) {
  let failure: string | null = null;
  return {
    ...{ config, deps, opened },
    ...{ clock: systemClock, random: systemRandom, logger: deps.logger, metrics: createPromMetrics() },
    /** Why the node must stop; null while it need not. */
    failure: () => failure,
    onFatal: (error: unknown) => {
      failure ??= messageOf(error);
      deps.onFatal(error);
    },
  };
}

function tlsOf({ key }: NodeData, loadOperator: (() => OperatorTls) | undefined): NodeTls {
  return new NodeTls({
    clock: systemClock,
    secretKey: key.seed,
    ...(loadOperator === undefined ? {} : { loadOperator }),
  });
}

function createApi({ config, metrics, failure, ...base }: Base, { dataDir, key, cluster }: NodeData): HttpApi {
  return createHttpApi(
    {
      ...{ ...base, metrics, nodeId: dataDir.nodeId, endpointId: key.endpointId },
      clusterId: () => cluster.id,
      storageHealthy: () => failure() === null,
      ...{ metricsText: () => metrics.text(), page: base.deps.page },
    },
    { version: blixardVersion, debugApi: config.debugApi, allowedHosts: ownHosts(config) },
  );
}

async function bind({ config, deps, opened }: Base, { key }: NodeData, tls: NodeTls, http: HttpApi) {
  const ports = await bindPorts(config, key.seed, tls, http, deps.createAdapter);
  opened.add("endpoint", () => ports.adapter.close());
  // Whoever asks for the certificates makes them anew when it is time.
  const renewal = setInterval(() => tls.shown(), certificateCheckMs);
  renewal.unref();
  opened.add("HTTP", async () => {
    clearInterval(renewal);
    http.close();
    await Promise.all([ports.tls.close(httpGraceMs), ports.plain?.close(httpGraceMs)]);
  });
  return ports;
}

function createNodeTransport({ config, opened, ...base }: Base, { dataDir }: NodeData, ports: BoundPorts) {
  const transport = createTransport(
    { ...base, adapter: ports.adapter },
    { nodeId: dataDir.nodeId, frameBytesMax: config.maxFrameBytes },
  );
  opened.add("transport", () => transport.close());
  return transport;
}

function openBulk(
  { config, opened, ...base }: Base,
  { dataDir, storage: { snapshots }, key }: NodeData,
  { tls, ports, transport }: Pick<MemberParts, "tls" | "ports" | "transport">,
): NodeBulk {
  const { relay, relayUrls, discovery } = config;
  const { adapter, bind } = ports;
  // Bulk data may go over Iroh where the node does.
  const iroh = adapter.kind === "iroh" || adapter.kind === "dual" ? { bind, relay, relayUrls, discovery } : undefined;
  const own = { secretKey: key.seed, dataDir: dataDir.path, snapshots, diskCopyMib: config.diskCopyMib };
  const bulk = createNodeBulk({ ...base, ...own, transport, tls, iroh });
  opened.add("bulk lane", () => bulk.lane.close());
  transport.addMethods(bulk.lane.rpcMethods);
  ports.onBulk((socket) => bulk.lane.accept(socket));
  return bulk;
}

function openNetworks({ clock, logger, opened }: Base, transport: Transport): NetworkLanes {
  const networks = new NetworkLanes({ clock, logger, transport });
  opened.add("networks", () => networks.close());
  transport.addMethods(networks.rpcMethods);
  return networks;
}

function createLocalJoins({ random, logger, deps, opened }: Base, { key }: NodeData): LocalJoinsFile {
  const localJoins = new LocalJoinsFile({ random, logger, env: deps.env, endpointId: key.endpointId });
  opened.add("local joins", () => localJoins.close());
  return localJoins;
}

/** A node that serves more than loopback has other machines in mind. */
async function openLocalJoins({ config }: Base, localJoins: LocalJoinsFile, { bind }: BoundPorts, node: ClusterNode) {
  if (config.joinPolicy !== "loopback" || !isLoopbackHost(hostOf(bind))) return await localJoins.close();
  await localJoins.open(bind, node.status().clusterId);
}

interface MemberParts {
  readonly data: NodeData;
  readonly tls: NodeTls;
  readonly ports: BoundPorts;
  readonly transport: Transport;
  readonly bulk: NodeBulk;
  readonly networks: NetworkLanes;
  readonly http: HttpApi;
  readonly localToken: string;
  readonly localJoins: LocalJoinsFile;
}

async function startMember(base: Base, parts: MemberParts): Promise<ClusterNode> {
  const { config, deps, opened, failure, clock, random, logger, metrics, onFatal } = base;
  const { data, tls, ports, transport, bulk, localJoins } = parts;
  const { storage, dataDir } = data;
  const { storeId, starts } = storage;
  const members = new MembersFile(dataDir.path, logger);
  opened.add("members file", () => members.close());
  const finders = openNodeFinders(base, data, ports);
  const lastComeback = data.comeback === undefined ? {} : { comeback: data.comeback };
  const node = await startClusterNode(
    {
      ...{ clock, random, logger, metrics, transport, onFatal },
      sha256: (bytes) => hash("sha256", bytes, "buffer"),
      signatures: createSignatures(data.key.seed),
      sealing: createSealing(data.key.seed),
      ...{ ticketCrypto, localJoins },
      ...{ log: storage.log, snapshots: storage.snapshots, stateStore: storage.state, store: { storeId, starts } },
      snapshotCarrier: bulk.snapshotCarrier,
      bulkRoutes: () => bulk.lane.routes(),
      startVmManager: () => startVms(base, parts),
      finders: finders.all,
      ownToken: data.adminToken,
      certificates: { list: () => tls.certificates(), rotate: () => tls.rotate() },
      ...keyRotationOf(base, parts),
      onMembers: (seed) => members.keep(seed),
      onHeldBack: (held) => showHeldBack(base, parts, held),
      storageHealth: () => ({ healthy: failure() === null, lastError: failure(), ...storage.health, ...lastComeback }),
    },
    {
      ...{ nodeId: dataDir.nodeId, version: blixardVersion, joinPolicy: config.joinPolicy },
      ...(config.advertise.length > 0 ? { advertisedAddresses: config.advertise } : {}),
      raft: {
        electionTimeoutMs: config.electionTimeoutMs,
        heartbeatIntervalMs: config.heartbeatMs,
        snapshotEntries: config.snapshotEntries,
      },
    },
    await startModeOf(base, data),
    { signal: deps.signal },
  );
  opened.add("node", () => node.close());
  bulk.lane.provide("disk", (id, reader) => node.openDiskPart(id, reader));
  return node;
}

/** The node serves at the same ports again, also where it may choose them. */
function keyRotationOf({ deps, config }: Base, { data, ports }: MemberParts) {
  const { onNewKey } = deps;
  if (onNewKey === undefined) return {};
  const http = ports.http === "off" ? config.http : new URL(ports.http).host;
  return { keyRotation: nodeKeyRotation(data.dataDir, () => onNewKey({ bind: ports.bind, http })) };
}

/** People find a node that is held back as one that serves, and are told why it does not. */
function showHeldBack(base: Base, { data, ports, http, localToken }: MemberParts, held: HeldBackNode): void {
  http.serve(heldBackService(held, localToken));
  tellWhere(base, data, ports).catch((error: unknown) => {
    base.logger.log("warn", "the runtime file could not be written", { error: messageOf(error) });
  });
}

const bytesPerMib = 1024 * 1024;

async function startVms(
  { config, clock, random, logger, metrics }: Base,
  { data, bulk, networks, http, ports }: MemberParts,
): Promise<VmManager> {
  const { vmDriver, vmDir, relay, relayUrls, discovery, allowBridge: bridges } = config;
  const bind = formatHostPort(hostOf(ports.bind), 0);
  const { path } = data.dataDir;
  if (vmDir !== undefined) await refuseForeignDataDir(vmDir, { emptyMayBeWide: true });
  const vms = await startVmManager(
    { clock, random, logger, metrics, fetchBlob: bulk.fetchBlob, fetchDiskPart: bulk.fetchDiskPart },
    {
      dataDir: vmDir ?? join(path, "vms"),
      reserve: { path: join(path, "reserve"), bytes: config.reserveMib * bytesPerMib },
      ...(await chooseVmDrivers(vmDriver, { clock })),
      ...{ confinement: confinementOf(config), bridges },
      carrier: carrierProgram({ bind, relay, relayUrls, discovery }),
    },
  );
  networks.serve(vms.networkLane);
  bulk.lane.provide("image", (id) => vms.images.find(id));
  http.storeBlobs(vms.images);
  return vms;
}

function openNodeFinders({ config, logger, opened }: Base, { cluster, key }: NodeData, ports: BoundPorts) {
  const { advertise } = config;
  const finders = openFinders(config, ports.adapter.kind, {
    clusterId: () => cluster.id,
    endpointId: key.endpointId,
    addresses: advertise.length > 0 ? advertise : directAddresses(ports.adapter.addresses()),
    bind: ports.bind,
    logger,
  });
  opened.add("finders", () => finders.close());
  return finders;
}

async function startModeOf({ config, deps }: Base, data: NodeData): Promise<StartMode> {
  const { plan, dataDir, key, adminToken } = data;
  const nodeName = config.name === undefined ? {} : { nodeName: config.name };
  switch (plan.type) {
    case "bootstrap": {
      const tokenHash = toHex(hash("sha256", await readOrMakeToken(adminToken, systemRandom), "buffer"));
      return { mode: "bootstrap", clusterId: randomUUID(), tokenHash, ...nodeName };
    }
    case "join":
      await sayJoining(deps.say, plan, config.bind);
      return {
        mode: "join",
        target: plan.target,
        ...nodeName,
        timeoutMs: joinTimeoutMs,
        onPending: () => sayPending(deps.say, plan, key.endpointId),
        onAttempt: (attempt) => sayAttempt(deps.say, attempt),
        onAdmitted: (seed) => keepSeed(data, seed),
      };
    case "resume": {
      if (plan.ignoredJoin) deps.logger.log("info", "the node is in its cluster already; --join is not needed");
      const seed = await readMembers(dataDir.path);
      return seed === undefined ? { mode: "resume" } : { mode: "resume", seed };
    }
    default:
      return plan satisfies never;
  }
}

/** Durable before the node takes part: a crash from here on must not ask for a second admission. */
async function keepSeed({ dataDir, cluster }: NodeData, seed: JoinSeed): Promise<void> {
  await writeMembers(dataDir.path, seed);
  await cluster.enter(seed.clusterId);
  await removeRecovery(dataDir.path);
}

/** What is left to do between "started" and "serves". A restart does not wait for the others: they may wait for it. */
async function settle({ clock, deps }: Base, { plan }: NodeData, node: ClusterNode): Promise<void> {
  if (plan.type === "resume") return;
  try {
    await withTimeLimit(clock, readyTimeoutMs, deps.signal, async (signal) => {
      await node.untilReady({ signal });
      // Whoever reads the ready line may want to use it.
      await node.untilOwnToken({ signal });
    });
  } catch (error) {
    if (deps.signal.aborted || node.lifecycle.value.error !== undefined) throw error;
    deps.logger.log("warn", "serving, but not caught up with the leader yet", { reason: node.ready().reason });
  }
}

/** Writes the runtime file: the command line finds the node by it. */
async function tellWhere(
  { opened }: Base,
  { dataDir, cluster, key }: NodeData,
  { bind, http }: BoundPorts,
): Promise<ReadyLine> {
  const where = {
    nodeId: dataDir.nodeId,
    endpointId: key.endpointId,
    clusterId: cluster.id,
    bind,
    http,
    pid: process.pid,
  };
  await writeRuntimeFile(dataDir, where);
  opened.add("runtime file", () => removeRuntimeFile(dataDir));
  return { event: "ready", ...where };
}

/** The others may let this node go while it runs. */
function stopWithTheCluster({ onFatal }: Base, node: ClusterNode): void {
  node.lifecycle
    .until(({ phase }) => phase === "removed" || phase === "failed" || phase === "closed")
    .then(({ phase, error }) => {
      if (phase !== "closed") onFatal(error ?? new BlixardError("INTERNAL", `the node is ${phase}`));
    });
}

/** What HTTP asks. */
function serviceOf(node: ClusterNode, localToken: string): NodeService {
  return {
    call: (name, request, meta) => node.call(name, request, meta),
    stream: (name, request, meta, scope) => node.stream(name, request, meta, scope),
    ready: () => node.ready(),
    authenticate: authenticatorOf(node, localToken),
  };
}

function heldBackService(held: HeldBackNode, localToken: string): NodeService {
  const { reason } = held;
  return {
    call: (name, request, meta) => held.call(name, request, meta),
    stream: () => Promise.reject(notApplied("UNAVAILABLE", `the node is ${reason}`, { hint: "See: blixard status" })),
    ready: () => ({ ready: false, reason }),
    authenticate: authenticatorOf(held, localToken),
  };
}

/** The token in `local.token` shows how this node is, whatever the cluster knows. */
function authenticatorOf(node: Pick<ClusterNode, "authenticate">, localToken: string): NodeService["authenticate"] {
  const localBytes = Buffer.from(localToken);
  const local = { actor: { kind: "system", id: "local" }, access: "local" } as const;
  return (given) => {
    const bytes = Buffer.from(given);
    // Only the length can be told from the time, which is that of every token of a node.
    const isLocal = bytes.length === localBytes.length && timingSafeEqual(bytes, localBytes);
    return isLocal ? local : node.authenticate(given);
  };
}
