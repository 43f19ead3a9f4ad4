/**
 * The simulator's own Raft group: registers under every kind of read, in groups that a Blixard cluster never is. Members
 * forward proposals to each other, leases answer reads, clocks run at different speeds, and a group may have one voter.
 */
import { fromUtf8, type Random, toUtf8 } from "@blixard/common";
import { memoryStateMachine, type ReadConsistency } from "@blixard/raft";
import { type GroupClient, type GroupScenario, simulateGroup } from "./group-simulation.ts";
import { History, type KvCall, type KvOutcome } from "./history.ts";
import { checkRegister } from "./linearizability.ts";
import type { Replica } from "./raft-group.ts";
import { chance, integer, pick, randomOf } from "./seeds.ts";
import { mayPass, outcomeOf } from "./sim-caller.ts";
import { raftOptionsOf } from "./simulation.ts";
import type { SimulationOptions, SimulationResult } from "./storm-run.ts";

type Registers = Map<string, string>;
type Write = Exclude<KvCall, { readonly type: "get" }>;

interface Command {
  readonly key: string;
  readonly call: Write;
}

/** Calls that one client makes at once. */
const burstMax = 4;
/** Calls that wait for their answer at the same time. */
const callsMax = 60;

/** Runs a group of registers from one seed, which also draws the number of voters unless it is given. */
export function simulateRegisters(options: SimulationOptions): Promise<SimulationResult> {
  const random = randomOf(options.seed, "registers");
  const nodes = options.nodes ?? pick(random, [1, 1, 3, 3, 3, 5]);
  return simulateGroup(registers(random), { ...options, nodes });
}

function registers(drawn: Random): GroupScenario<Registers, KvOutcome> {
  const history = new History();
  const keys = integer(drawn, 1, 4);
  const raft = raftOptionsOf(drawn);
  const snapshotEntries = pick(drawn, [0, 5, 20, 50]);
  const calls = new Set<Promise<void>>();
  let values = 0;
  const value = () => `v${++values}`;
  const choose = (random: Random): KvCall => {
    const dice = random.next();
    if (dice < 0.7) return { type: "get" };
    if (dice < 0.88) return { type: "put", value: value() };
    if (dice < 0.91) return { type: "delete" };
    const from = values === 0 || chance(random, 0.3) ? null : `v${values - integer(random, 0, 3)}`;
    return { type: "cas", from, to: value() };
  };
  return {
    create: createRegisters,
    step: async (client) => {
      const { random } = client;
      for (let left = integer(random, 1, burstMax); left > 0; left--) {
        const key = `k${integer(random, 0, keys - 1)}`;
        const call = act(client, history, key, choose(random)).finally(() => calls.delete(call));
        calls.add(call);
        call.catch(() => {});
      }
      // A call to a node that is cut off waits long, and keeps the others from nothing.
      while (calls.size >= callsMax) await Promise.race(calls);
    },
    fingerprint: (state) => JSON.stringify([...state].sort()),
    lastCheck: () => {
      for (const [key, operations] of history.byKey()) {
        // What a read would have seen is nobody's business when nobody was told.
        const verdict = checkRegister(
          operations.filter(({ call, outcome }) => call.type !== "get" || outcome.type === "read"),
        );
        if (verdict.type === "violation") return `${key}: ${verdict.detail}`;
      }
      return undefined;
    },
    // The impatient ones go on asking while a node is cut off; the patient ones wait for answers that come late.
    callTimeoutsMs: [300, 300, 4_000],
    raft: { ...raft, snapshotEntries, leaseReads: raft.checkQuorum === true && chance(drawn, 0.8) },
  };
}

async function act(
  client: GroupClient<Registers, KvOutcome>,
  history: History,
  key: string,
  call: KvCall,
): Promise<void> {
  const operation = history.begin(key, call);
  try {
    if (call.type === "get") {
      const consistency: ReadConsistency = chance(client.random, 0.5) ? "lease" : "linearizable";
      const value = await client.read((state) => state.get(key) ?? null, { consistency });
      history.end(operation, { type: "read", value });
    } else {
      const { result } = await client.propose(fromUtf8(JSON.stringify({ key, call } satisfies Command)));
      history.end(operation, result);
    }
  } catch (error) {
    // Who is told that a write was not applied believes it: its value must never be seen.
    if (call.type === "get" || outcomeOf(error) === "not_applied") history.forget(operation);
    if (!mayPass(error)) client.fail(`${call.type} ${key} was refused: ${String(error)}`);
  }
}

function createRegisters(): Replica<Registers, KvOutcome> {
  const state: Registers = new Map();
  const stateMachine = memoryStateMachine<KvOutcome>({
    apply: (data) => apply(state, JSON.parse(toUtf8(data)) as Command),
    save: () => fromUtf8(JSON.stringify([...state].sort())),
    load: (bytes) => {
      state.clear();
      for (const [key, value] of JSON.parse(toUtf8(bytes)) as [string, string][]) state.set(key, value);
    },
  });
  return { stateMachine, state };
}

function apply(state: Registers, { key, call }: Command): KvOutcome {
  switch (call.type) {
    case "put":
      state.set(key, call.value);
      return { type: "done" };
    case "delete":
      return state.delete(key) ? { type: "done" } : { type: "absent" };
    case "cas": {
      const swapped = (state.get(key) ?? null) === call.from;
      if (swapped) state.set(key, call.to);
      return { type: "swapped", swapped };
    }
    default:
      return call satisfies never;
  }
}
