/**
 * The networks of the VMs of one node: which ports the cluster wants, as this manager knows, and the switch that carries them. The
 * switch is started with the first port, found again after the node was started anew, and exchanged when it does not answer.
 */
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, messageOf, Watch } from "@blixard/common";
import { userNetwork } from "@blixard/protocol";
import { endHelpers, HelperConnection, type HelperPlace, startHelper } from "../process/helper-process.ts";
import { untilWoken } from "../until-woken.ts";
import { HostAddresses } from "./host-addresses.ts";
import { passtInstallHint } from "./passt.ts";
import { type PortConfig, type SwitchAnswers, type SwitchQuestion, switchKind } from "./switch-messages.ts";
import { tryPasst } from "./try-passt.ts";

const pollMs = 1_000;
const answerTimeoutMs = 5_000;
/** Attempts to reach the switch, one after the other, after which another one takes its place. */
const attemptsMax = 3;

export interface VmNetworksDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly runDirectory: string;
}

/** Why this host gives no networks, and what to do about it. */
export interface MissingNetworks {
  readonly reason: string;
  readonly hint: string;
}

/** Tries what the network `user` needs. Undefined when it works. */
export async function whyNoNetworks(clock: Clock): Promise<MissingNetworks | undefined> {
  if (!new HostAddresses(() => clock.monotonicMs()).areKnown) {
    return { reason: "the kernel does not show its addresses", hint: "let the node read /proc/net/fib_trie" };
  }
  const reason = await tryPasst(clock);
  if (reason === undefined) return undefined;
  const installed = !reason.endsWith("not installed");
  return { reason, hint: installed ? "let this user make user namespaces, which passt stands in" : passtInstallHint };
}

export class VmNetworks {
  /** The networks that VMs can have here. */
  readonly available: readonly string[];
  /** Why there are none. */
  readonly missing: MissingNetworks | undefined;
  /** What is wrong with the network of a VM, by its id. */
  readonly problems = new Watch<ReadonlyMap<string, string>>(new Map());
  readonly #deps: VmNetworksDeps;
  readonly #place: HelperPlace;
  readonly #wanted = new Map<string, readonly PortConfig[]>();
  /** What the switch was told, over the present connection. */
  readonly #told = new Map<string, readonly PortConfig[]>();
  readonly #wake = new Watch(0);
  readonly #closed = new AbortController();
  readonly #loop: Promise<void>;
  #connection: HelperConnection<SwitchQuestion, SwitchAnswers> | undefined;

  private constructor(deps: VmNetworksDeps, missing: MissingNetworks | undefined) {
    this.#deps = deps;
    this.missing = missing;
    this.available = missing === undefined ? [userNetwork] : [];
    this.#place = { clock: deps.clock, socketPath: join(deps.runDirectory, "switch") };
    this.#loop = this.#run();
  }

  /** `tries`: a driver of this node gives VMs network cards. */
  static async open(deps: VmNetworksDeps, { tries }: { readonly tries: boolean }): Promise<VmNetworks> {
    if (!tries) return new VmNetworks(deps, { reason: "no driver of this node gives network cards", hint: "" });
    const missing = await whyNoNetworks(deps.clock);
    if (missing !== undefined) deps.logger.log("warn", "VMs of this node have no network", { ...missing });
    return new VmNetworks(deps, missing);
  }

  /** A running VM has these ports; none when it does not run any more. Level-triggered. */
  want(vmId: string, ports: readonly PortConfig[]): void {
    if (isDeepStrictEqual(this.#wanted.get(vmId) ?? [], ports)) return;
    if (ports.length === 0) this.#wanted.delete(vmId);
    else this.#wanted.set(vmId, ports);
    this.#wake.update((count) => count + 1);
  }

  /** Lets go of the switch, which goes on. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#wake.update((count) => count + 1);
    this.#connection?.close();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closed;
    let failures = 0;
    while (!signal.aborted) {
      const seen = this.#wake.value;
      try {
        await this.#tell();
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        failures++;
        if (failures === 1) logger.log("warn", "the switch of the VMs does not answer", { error: messageOf(error) });
        await this.#lose(messageOf(error), failures >= attemptsMax);
      }
      // With nothing to tell, nothing has to be polled.
      const untilMs = this.#told.size === 0 && failures === 0 ? undefined : clock.monotonicMs() + pollMs;
      await untilWoken(clock, this.#wake, seen, untilMs);
    }
  }

  async #tell(): Promise<void> {
    if (this.#wanted.size === 0 && this.#told.size === 0) return;
    const connection = await this.#connected();
    for (const vmId of new Set([...this.#wanted.keys(), ...this.#told.keys()])) {
      const ports = this.#wanted.get(vmId) ?? [];
      if (isDeepStrictEqual(this.#told.get(vmId) ?? [], ports)) continue;
      await connection.ask({ type: "set", vmId, ports }, answerTimeoutMs);
      if (ports.length === 0) this.#told.delete(vmId);
      else this.#told.set(vmId, ports);
    }
    const { ports } = await connection.ask({ type: "status" }, answerTimeoutMs);
    const problems = ports.flatMap(({ vmId, problem }) => (problem === undefined ? [] : [[vmId, problem] as const]));
    this.#setProblems(new Map(problems));
    if (this.#told.size > 0) return;
    // It ends when nobody needs it.
    connection.close();
    this.#connection = undefined;
  }

  async #connected(): Promise<HelperConnection<SwitchQuestion, SwitchAnswers>> {
    if (this.#connection?.isOpen) return this.#connection;
    this.#told.clear();
    const directory = dirname(this.#place.socketPath);
    const found = await HelperConnection.open<SwitchQuestion, SwitchAnswers>(switchKind, this.#place).catch(
      () => undefined,
    );
    if (found === undefined) await endHelpers(switchKind, this.#place);
    this.#connection = found ?? (await startHelper(switchKind, this.#place, { directory }));
    if (this.#closed.signal.aborted) this.#connection.close();
    return this.#connection;
  }

  /** `ends`: one that does not answer holds up guests, and the next one takes over. */
  async #lose(problem: string, ends: boolean): Promise<void> {
    this.#connection?.close();
    this.#connection = undefined;
    this.#told.clear();
    this.#setProblems(new Map([...this.#wanted.keys()].map((vmId) => [vmId, problem])));
    if (ends) await endHelpers(switchKind, this.#place).catch(() => 0);
  }

  #setProblems(problems: ReadonlyMap<string, string>): void {
    if (!isDeepStrictEqual(problems, this.problems.value)) this.problems.set(problems);
  }
}
