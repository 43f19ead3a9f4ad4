/** A state machine in memory that is fed commands without a log, for tests of what reads its state. */
import { type CommandBody, encodeCommand } from "@blixard/protocol";
import { asLogIndex, asTerm, type Entry, emptyConfState } from "@blixard/raft";
import { type ClusterStateMachine, createClusterStateMachine } from "../cluster-state-machine.ts";
import { sha256 } from "./cluster-group.ts";
import { commandOf, initBody } from "./command-samples.ts";
import { MemoryStateStore } from "./memory-state-store.ts";

/** A state machine to which commands are applied, those of one call as one batch. */
export async function fedMachine() {
  const create = async () => {
    const made = createClusterStateMachine(new MemoryStateStore(), sha256);
    await made.load();
    return made;
  };
  const [leading, stateMachine] = [await create(), await create()];
  let index = 0;
  const applyTo = async (machines: readonly ClusterStateMachine[], bodies: readonly CommandBody[]) => {
    const entries: Entry[] = bodies.map((body) => ({
      kind: "normal",
      index: asLogIndex(++index),
      term: asTerm(1),
      data: encodeCommand(commandOf(body)),
    }));
    const after = { index: asLogIndex(index), term: asTerm(1), confState: emptyConfState() };
    for (const each of machines) await each.apply(entries, after);
  };
  const apply = (...bodies: readonly CommandBody[]) => applyTo([leading, stateMachine], bodies);
  /** It misses the commands, and gets a snapshot. */
  const restoreAfter = async (...bodies: readonly CommandBody[]) => {
    await applyTo([leading], bodies);
    const { at, chunks } = await leading.snapshot();
    await stateMachine.restore(at, chunks);
  };
  await apply(initBody);
  return { stateMachine, apply, restoreAfter };
}
