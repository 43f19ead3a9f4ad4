/**
 * A bank on Raft, and its test: accounts, transfers between them, and the promise that the balances are what the journal
 * says, whatever happens to machines, disks and networks.
 */
import { fromUtf8, toHex, toUtf8 } from "@blixard/common";
import { memoryStateMachine } from "@blixard/raft";
import type { GroupClient, GroupScenario, Replica } from "../simulator/index.ts";

interface Transfer {
  /** Chosen by the client, the same in each try: nobody knows what became of a try without an answer. */
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

type Outcome = "moved" | "too little money";

interface Ledger {
  balances: Map<string, number>;
  /** Each transfer that was decided, in order. */
  journal: Map<string, Transfer & { readonly outcome: Outcome }>;
}

/** Mistakes that a bank could make. */
export interface PlantedBugs {
  /** A transfer that is asked for twice is carried out twice. */
  readonly repeats?: boolean;
  /** A snapshot holds the balances only. */
  readonly savesNoJournal?: boolean;
}

const opening: readonly (readonly [string, number])[] = [
  ["ann", 100],
  ["bob", 100],
  ["cid", 100],
];

function createLedger({ repeats = false, savesNoJournal = false }: PlantedBugs): Replica<Ledger, Outcome> {
  const state: Ledger = { balances: new Map(opening), journal: new Map() };
  const decide = (transfer: Transfer): Outcome => {
    const before = state.journal.get(transfer.id);
    if (before !== undefined && !repeats) return before.outcome;
    const outcome = (state.balances.get(transfer.from) ?? 0) < transfer.amount ? "too little money" : "moved";
    state.journal.set(transfer.id, { ...transfer, outcome });
    if (outcome === "moved") move(state.balances, transfer);
    return outcome;
  };
  const stateMachine = memoryStateMachine<Outcome>({
    apply: (data) => decide(JSON.parse(toUtf8(data))),
    save: () => fromUtf8(JSON.stringify([[...state.balances], savesNoJournal ? [] : [...state.journal]])),
    load: (bytes) => {
      const [balances, journal] = JSON.parse(toUtf8(bytes));
      state.balances = new Map(balances);
      state.journal = new Map(journal);
    },
  });
  return { stateMachine, state };
}

function move(balances: Map<string, number>, { from, to, amount }: Transfer): void {
  balances.set(from, (balances.get(from) ?? 0) - amount);
  balances.set(to, (balances.get(to) ?? 0) + amount);
}

/** What is wrong in the books; undefined when nothing is. */
function audit({ balances, journal }: Ledger): string | undefined {
  const expected = new Map(opening);
  for (const transfer of journal.values()) if (transfer.outcome === "moved") move(expected, transfer);
  for (const [name, balance] of balances) {
    if (balance < 0) return `${name} has ${balance}`;
    if (balance !== expected.get(name)) return `${name} has ${balance}, and the journal says ${expected.get(name)}`;
  }
  return undefined;
}

const triesMax = 20;

/** Moves money, and asks again until somebody says what became of it; then it has to stand in the journal. */
async function transferOnce({ random, propose, read, fail }: GroupClient<Ledger, Outcome>): Promise<void> {
  const name = () => opening[Math.floor(random.next() * opening.length)]?.[0] ?? "";
  const transfer = { id: toHex(random.bytes(8)), from: name(), to: name(), amount: 1 + Math.floor(random.next() * 60) };
  for (let tries = 0; tries < triesMax; tries++) {
    // Without an answer it may have happened or not. The journal makes it safe to ask again.
    const applied = await propose(fromUtf8(JSON.stringify(transfer))).catch(() => undefined);
    if (applied === undefined) continue;
    const recorded = await read(({ journal }) => journal.get(transfer.id)?.outcome);
    if (recorded !== applied.result) fail(`a client was told "${applied.result}", and the journal says "${recorded}"`);
    return;
  }
}

export function bankLedger(bugs: PlantedBugs = {}): GroupScenario<Ledger, Outcome> {
  return {
    create: () => createLedger(bugs),
    step: transferOnce,
    fingerprint: ({ balances, journal }) => JSON.stringify([[...balances].sort(), [...journal.keys()]]),
    invariant: audit,
  };
}
