/**
 * Brings the switch of this node together with those of its neighbours, the nodes that have VMs in the same private networks. Each
 * node asks the others, over the RPC lane, which key their switch has: that lane proves that a member says so. The frames themselves
 * pass neither this process nor a lane of the nodes.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  BlixardError,
  type Clock,
  errorCodeOf,
  firstAddresses,
  fromUtf8,
  type Logger,
  sleep,
  toUtf8,
} from "@blixard/common";
import type { RpcHandler, Transport } from "@blixard/transport";
import type { CarrierEndpoint, CarrierProgram, LanePeer, NetworkLane } from "@blixard/vm-manager";
import type { CarrierSettings } from "./switch-carrier.ts";

/** The method of the RPC lane: where the switch of the node that is asked takes frames, as JSON. */
const switchMethod = "network.switch";

const callTimeoutMs = 5_000;
/** Each neighbour is asked so often: its switch may be another one by now. */
const askAgainMs = 2_000;
/** With many neighbours, more seldom. */
const askEachMs = 50;
const retryMs = 200;
const answerBytesMax = 8 * 1024;
const addressesMax = 16;

export interface NetworkLanesDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transport: Pick<Transport, "call" | "peer">;
}

export class NetworkLanes {
  readonly rpcMethods: ReadonlyMap<string, RpcHandler> = new Map([
    [switchMethod, ({ remote }) => this.#answer(remote.nodeId)],
  ]);
  readonly #deps: NetworkLanesDeps;
  readonly #closing = new AbortController();
  readonly #peers = new Map<number, LanePeer>();
  #lane: NetworkLane | undefined;
  #running: Promise<void> | undefined;

  constructor(deps: NetworkLanesDeps) {
    this.#deps = deps;
  }

  /** From now on the switch of this manager is meant. */
  serve(lane: NetworkLane): void {
    this.#lane = lane;
    this.#running ??= this.#run(lane);
  }

  async close(): Promise<void> {
    this.#closing.abort(new BlixardError("STOPPED", "the node stops"));
    await this.#running;
  }

  /** Members alone are told: a stranger that knows the key could not use it, but learns nothing either. */
  async #answer(nodeId: number | undefined): Promise<Uint8Array> {
    if (nodeId === undefined) throw new BlixardError("PERMISSION_DENIED", "only members may know the switch of a node");
    if (this.#lane === undefined) throw new BlixardError("UNAVAILABLE", "the node is starting");
    return fromUtf8(JSON.stringify(await this.#lane.endpoint()));
  }

  async #run(lane: NetworkLane): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closing;
    let incomplete = 0;
    while (!signal.aborted) {
      try {
        const neighbours = await lane.neighbours.until((nodes) => nodes.length > 0 || this.#peers.size > 0, { signal });
        incomplete = (await this.#askAll(neighbours)) ? 0 : incomplete + 1;
        lane.setPeers([...this.#peers.values()]);
        const calmMs = Math.max(askAgainMs, neighbours.length * askEachMs);
        const delayMs = incomplete === 0 ? calmMs : Math.min(retryMs * 2 ** (incomplete - 1), calmMs);
        if (await this.#pause(lane, neighbours, delayMs)) incomplete = 0;
      } catch (error) {
        if (signal.aborted) break;
        logger.log("warn", "the switches of other nodes are not known", { code: errorCodeOf(error) });
        await sleep(clock, retryMs, signal).catch(() => {});
      }
    }
  }

  /** Until it is time, or the neighbours are others: then true. */
  async #pause(lane: NetworkLane, before: readonly number[], delayMs: number): Promise<boolean> {
    const { clock } = this.#deps;
    const now = await lane.neighbours.until((nodes) => nodes !== before, {
      signal: this.#closing.signal,
      limit: { clock, delayMs },
    });
    return now !== before;
  }

  /** True when all have answered that could. */
  async #askAll(neighbours: readonly number[]): Promise<boolean> {
    for (const nodeId of this.#peers.keys()) if (!neighbours.includes(nodeId)) this.#peers.delete(nodeId);
    const answers = await Promise.all(neighbours.map((nodeId) => this.#ask(nodeId)));
    return answers.every((known) => known);
  }

  /** What was known of a node that does not answer stays: its switch may well go on. */
  async #ask(nodeId: number): Promise<boolean> {
    const { transport } = this.#deps;
    const { signal } = this.#closing;
    if (transport.peer(nodeId) === undefined) return true;
    try {
      const answer = await transport.call(nodeId, switchMethod, new Uint8Array(), { timeoutMs: callTimeoutMs, signal });
      this.#peers.set(nodeId, { nodeId, ...readEndpoint(answer) });
      return true;
    } catch (error) {
      // It carries no network yet, or not any more; one of an earlier release never will.
      return errorCodeOf(error) !== "UNAVAILABLE";
    }
  }
}

/** What the switch of this node loads to reach others. */
export function carrierProgram(settings: CarrierSettings): CarrierProgram {
  const program = fileURLToPath(new URL("./switch-carrier.js", import.meta.url));
  // It runs as plain JavaScript: when this module runs from its source, the build stands beside it.
  const parts = join(dirname(fileURLToPath(import.meta.url)), "../..");
  const path = existsSync(program) ? program : join(parts, "dist/networks/switch-carrier.js");
  return { url: pathToFileURL(path).href, settings };
}

/** @throws INVALID_ARGUMENT */
function readEndpoint(payload: Uint8Array): CarrierEndpoint {
  const text = payload.length > answerBytesMax ? "{}" : toUtf8(payload);
  const { endpointId, direct, addresses } = parsed(text);
  if (typeof endpointId !== "string" || !/^[0-9a-f]{64}$/.test(endpointId) || !isTexts(direct) || !isTexts(addresses)) {
    throw new BlixardError("INVALID_ARGUMENT", "not the endpoint of a switch");
  }
  const first = (given: readonly string[]) => firstAddresses(given, addressesMax);
  return { endpointId, direct: first(direct), addresses: first(addresses) };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function parsed(text: string): Partial<Record<keyof CarrierEndpoint, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
