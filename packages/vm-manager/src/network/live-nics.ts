/**
 * Brings the network cards of a VM that runs up to what is wanted. What passes does not wait for that: the switch carries frames of
 * those cards alone that the state gives the VM, whatever its process still has.
 */
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, messageOf, Watch } from "@blixard/common";
import { AlignLoop } from "../align-loop.ts";
import type { InstanceNics, InstanceState, PluggedNic } from "../driver.ts";
import type { Nic } from "./nic.ts";

/** What is told of it. */
export interface LiveNicsView {
  /** What the process has. */
  readonly nics: readonly PluggedNic[];
  /** What could not be done. */
  readonly problem: string | undefined;
}

export interface LiveNicsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nics: InstanceNics;
  readonly state: Pick<Watch<InstanceState>, "value" | "until">;
  /** What it had when it was looked last. */
  readonly known: readonly Nic[];
}

/** A guest that stands still lets go of nothing. */
const runningOnly: ReadonlySet<InstanceState["type"]> = new Set(["running"]);

export class LiveNics {
  /** Undefined before it was looked. */
  readonly view = new Watch<LiveNicsView | undefined>(undefined);
  readonly #deps: LiveNicsDeps;
  readonly #loop: AlignLoop<readonly Nic[]>;
  /** By network: what the guest was told of its card, which no process shows. */
  readonly #addresses: Map<string, string>;
  /** Cards that the guest was asked for and still has: it may let go of one after it is wanted again. */
  readonly #asked = new Set<string>();

  constructor(deps: LiveNicsDeps) {
    this.#deps = deps;
    this.#addresses = new Map(
      deps.known.flatMap(({ network, address }) => (address === undefined ? [] : [[network, address] as const])),
    );
    this.#loop = new AlignLoop<readonly Nic[]>({
      ...deps,
      states: runningOnly,
      warning: "the network cards of a VM are not as they are wanted",
      align: (wish, signal) => this.#align(wish, signal),
      mayChange: () => this.#asked.size > 0,
    });
  }

  /** Level-triggered. */
  want(nics: readonly Nic[]): void {
    this.#loop.want(nics);
  }

  close(): Promise<void> {
    return this.#loop.close();
  }

  /** Resolves with what could not be done. */
  async #align(wish: readonly Nic[], signal: AbortSignal): Promise<string | undefined> {
    const { nics } = this.#deps;
    const problems: string[] = [];
    const tried = async ({ network }: Nic, verb: string, step: () => Promise<void>) => {
      // Each step may wait for a process that does not answer.
      if (signal.aborted) return;
      try {
        await step();
      } catch (error) {
        problems.push(`the card in the network ${network} cannot be ${verb}: ${messageOf(error)}`);
      }
    };
    for (const had of await this.#list()) {
      if (wish.some((nic) => isSameCard(had, nic))) continue;
      this.#asked.add(placeOf(had));
      await tried(had, "taken out", () => nics.unplug(had, signal));
    }
    for (const nic of wish) {
      if ((await this.#list()).some(({ network }) => network === nic.network)) continue;
      await tried(nic, "put in", async () => {
        await nics.plug(nic);
        if (nic.address !== undefined) this.#addresses.set(nic.network, nic.address);
      });
    }
    const problem = problems.length === 0 ? undefined : problems.join("; ");
    const view = { nics: await this.#list(), problem };
    if (!isDeepStrictEqual(view, this.view.value)) this.view.set(view);
    return problem;
  }

  async #list(): Promise<readonly PluggedNic[]> {
    const present = await this.#deps.nics.list();
    for (const place of this.#asked) if (!present.some((nic) => placeOf(nic) === place)) this.#asked.delete(place);
    return present.map((nic) => {
      const address = this.#addresses.get(nic.network);
      return address === undefined ? nic : { ...nic, address };
    });
  }
}

const placeOf = ({ slot, network }: PluggedNic): string => `${slot} ${network}`;

/** With another address it is another card: the guest asks for its address when it finds it. */
function isSameCard(had: PluggedNic, { network, mac, address, bridge }: Nic): boolean {
  if (had.network !== network || had.mac !== mac || had.bridge !== bridge) return false;
  return had.address === undefined || had.address === address;
}
