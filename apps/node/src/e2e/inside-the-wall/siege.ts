/** Thieves with the keys of a cluster's nodes, and what each of them asks. */
import { redeemTicket } from "@blixard/client";
import { systemRandom } from "@blixard/common/system";
import { endpointIdOfSeed } from "@blixard/identity";
import { decodeTicket } from "@blixard/protocol";
import { type Cell, callWall, roles, type WallRole, type Way } from "./call-wall.ts";
import { joinRequest, type Objects, requests } from "./requests.ts";
import { type AskOptions, type SpokenFor, Thief } from "./thief.ts";
import { living, type Picture, stolen, until, WallCluster } from "./wall-cluster.ts";

export type Name = keyof typeof requests;
export const names = [...callWall.keys()] as Name[];

/** Whose things they are: those that must stay, and those that are changed for an administrator or the system. */
type Mark = "prey" | "admin" | "system";

/** For an administrator and for the system: what a voter's word changes, each its own. */
type Bait = Readonly<Record<"admin" | "system", Objects>>;

const newSeed = () => systemRandom.bytes(32);

export class Siege {
  readonly cluster: WallCluster;
  readonly speaksFor: SpokenFor;
  readonly #thieves = new Map<WallRole, Thief>();
  readonly #keys = new Map<WallRole, Uint8Array>();
  readonly #others: Thief[] = [];
  /** Machines that wait to join, under whose name they are let in. */
  readonly #machines = new Map<Mark, { readonly id: number; readonly machine: Thief }>();
  #prey: Objects | undefined;
  #bait: Bait | undefined;

  private constructor(cluster: WallCluster, speaksFor: SpokenFor) {
    this.cluster = cluster;
    this.speaksFor = speaksFor;
  }

  static async start(): Promise<Siege> {
    const cluster = await WallCluster.start();
    const { id } = await cluster.client().tokens.create({ role: "admin" });
    const siege = new Siege(cluster, { token: id, endpointId: endpointIdOfSeed(newSeed()), node: 3 });
    await siege.#prepare();
    return siege;
  }

  /** Somebody whose key got an administrator's rights by a ticket. */
  async person(): Promise<Thief> {
    const person = await this.#stranger(newSeed());
    const { ticket } = await this.cluster.client().tickets.create({ role: "admin" });
    const deps = { rpc: person.rpc, random: systemRandom, endpointId: person.endpointId };
    await redeemTicket(deps, decodeTicket(ticket), { timeoutMs: 60_000 });
    return person;
  }

  /** Makes what is to be destroyed, and lets machines ask to join. */
  async #prepare(): Promise<void> {
    await this.cluster.client().kv.put("treasure", "gold");
    await this.cluster.client().volumes.create({ name: "treasury", sizeGiB: 1, node: living[0] });
    await this.cluster.client().networks.create({ name: "alley", range: "10.98.0.0/24" });
    for (const name of ["guards", "spare"]) await this.cluster.client().securityGroups.create({ name });
    const volumes = { newVolume: "treasury-new", volume: "treasury", newNetwork: "alley-new", network: "alley" };
    const groups = { newGroup: "guards-new", group: "spare" };
    const stays = {
      newVm: "prey-new",
      vm: "prey",
      ...volumes,
      ...groups,
      key: "treasure",
      image: "demo",
      role: "worker",
    } as const;
    const itself = { member: living[1], cordoned: true, removed: living[1], leader: living[1] };
    this.#prey = { ...(await this.#objects("prey", 60)), ...stays, ...itself };
    const member = stolen.learner;
    this.#bait = {
      admin: { ...(await this.#objects("admin", 61)), member, role: "worker", cordoned: true, leader: living[1] },
      system: { ...(await this.#objects("system", 62)), member, role: "learner", cordoned: false, leader: living[0] },
    };
  }

  /** Ends the nodes of the thieves, who have their keys from now on. */
  async steal(): Promise<void> {
    if (this.#keys.size > 0) return;
    const keys = new Map([...(await this.cluster.steal()), ["stranger", newSeed()] as const]);
    for (const [role, seed] of keys) {
      this.#keys.set(role, seed);
      this.#thieves.set(role, await this.#thiefWith(role, "iroh"));
    }
  }

  /** A machine asks to join, as it does again and again: one that is silent for long is forgotten. */
  async knock(mark: Mark): Promise<void> {
    const { id = 0, machine } = this.#machines.get(mark) ?? {};
    const request = joinRequest(id, machine?.endpointId ?? "", false);
    const answer = await machine?.ask(await this.leader(), { name: "join.request", way: "own", request });
    if (answer?.code !== "JOIN_PENDING") throw new Error(`a machine without a ticket was answered ${answer?.code}`);
  }

  async #objects(mark: Mark, id: number): Promise<Omit<Objects, "member" | "leader" | "role" | "cordoned">> {
    const client = this.cluster.client();
    const machine = await this.#stranger(newSeed());
    this.#machines.set(mark, { id, machine });
    return {
      ...{ newVolume: `${mark}-volume`, volume: `${mark}-volume` },
      ...{ newNetwork: `${mark}-network`, network: `${mark}-network` },
      ...{ newGroup: `${mark}-group`, group: `${mark}-group` },
      ...{ newVm: `${mark}-vm`, vm: `${mark}-vm`, key: `${mark}-key`, image: `${mark}-image` },
      token: (await client.tokens.create({ role: "operator" })).id,
      narrowed: (await client.tokens.create({ role: "operator" })).id,
      ticket: (await client.tickets.create({ role: "worker" })).id,
      ...{ removed: id, waiting: machine.endpointId },
    };
  }

  async #stranger(seed: Uint8Array): Promise<Thief> {
    const thief = await Thief.start({ seed, nodeId: 0, speaksFor: this.speaksFor });
    this.#others.push(thief);
    return thief;
  }

  /** The same keys over another transport. */
  async speakOver(kind: "iroh" | "grpc"): Promise<void> {
    for (const role of roles) {
      await this.thief(role).close();
      this.#thieves.set(role, await this.#thiefWith(role, kind));
    }
  }

  #thiefWith(role: WallRole, kind: "iroh" | "grpc"): Promise<Thief> {
    const nodeId = role === "stranger" ? 0 : stolen[role];
    // Those who do not vote say of each other that they do.
    const vouches = role === "worker" || role === "learner";
    return Thief.start({ seed: this.keyOf(role), nodeId, speaksFor: this.speaksFor, vouches, kind });
  }

  thief(role: WallRole): Thief {
    const thief = this.#thieves.get(role);
    if (thief === undefined) throw new Error(`nobody has the key of a ${role}`);
    return thief;
  }

  keyOf(role: WallRole): Uint8Array {
    return this.#keys.get(role) ?? new Uint8Array();
  }

  /** The node that leads. */
  async leader() {
    const status = await until("a leader", async () => {
      const { leaderId } = await this.cluster.client().status();
      return leaderId ?? undefined;
    });
    return this.cluster.peer(status);
  }

  /** A request of `name` that would do harm, or for an administrator or the system what it may. */
  request(
    name: Name,
    by: Pick<Thief, "nodeId" | "endpointId">,
    way: Way,
    lastIndex: number,
    harmless = false,
  ): unknown {
    const objects = harmless && (way === "admin" || way === "system") ? this.#bait?.[way] : this.#prey;
    if (objects === undefined) throw new Error("nothing is prepared");
    const endpointId = way === "key" ? this.speaksFor.endpointId : by.endpointId;
    return requests[name]({ self: by.nodeId, endpointId, objects, lastIndex });
  }

  /** Asks with every key at once, and one after the other with each; gives the answers that are not what they should be. */
  async ask(asked: (role: WallRole, thief: Thief) => Iterable<Question>): Promise<string[]> {
    const wrong: string[] = [];
    await Promise.all(
      roles.map(async (role) => {
        const thief = this.thief(role);
        const questions = [...asked(role, thief)];
        // A few at a time, as a client does.
        const next = async () => {
          for (let question = questions.shift(); question !== undefined; question = questions.shift()) {
            const { to, wanted, what = question.name, ...options } = question;
            const code = await this.#answerTo(() => thief.ask(to, options));
            if (code !== wanted) wrong.push(`${what}, ${options.way}, by a ${role}: ${code} and not ${wanted}`);
          }
        };
        await Promise.all(Array.from({ length: askedAtOnce }, next));
      }),
    );
    return wrong.sort();
  }

  /** A member that asks for more than its budget is told to come again, and a lost connection is no answer. */
  async #answerTo(ask: () => Promise<{ readonly code: string }>): Promise<string> {
    for (let left = askedAgainMax; ; left--) {
      const { code } = await ask();
      if ((code !== "OVERLOADED" && code !== "UNREACHABLE") || left === 0) return code;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** Does it, and gives the parts of the picture that are not as before. */
  async changedBy(attack: () => Promise<unknown>): Promise<string[]> {
    const before = await this.cluster.picture();
    await attack();
    // A cluster of which there is no picture any more has changed in every part.
    const after: Picture = await this.cluster.picture().catch(() => ({}));
    return Object.keys(before).filter((part) => JSON.stringify(before[part]) !== JSON.stringify(after[part]));
  }

  async close(): Promise<void> {
    for (const thief of [...this.#thieves.values(), ...this.#others]) await thief.close();
    await this.cluster.close();
  }
}

const askedAtOnce = 8;
const askedAgainMax = 60;

export interface Question extends AskOptions {
  readonly to: Parameters<Thief["ask"]>[0];
  readonly wanted: Cell | undefined;
  readonly what?: string;
}
