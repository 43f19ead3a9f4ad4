/**
 * Rules about the state that a node writes behind its answers: it is whole as of an entry, which stands in the node's own
 * log, durably; the log keeps what it does not have; a node that cannot write it ends; and one that starts with an older
 * state catches up before it touches a VM.
 */
import { toHex } from "@blixard/common";
import type { LogContents, LogWrite } from "@blixard/raft";
import type { Violations } from "./violation.ts";

/** A row of the table in which the state machine keeps the hash of the state after each entry. */
export interface HashRow {
  readonly index: number;
  readonly term: number;
  readonly hash: string;
}

/** What one write of the state holds beside the records. */
export interface StateWrite {
  readonly index: number;
  /** Of the new entries, in their order. */
  readonly rows: readonly HashRow[];
  /** The hash with which the chain goes on; undefined when the write has none. */
  readonly chain: Uint8Array | undefined;
}

interface NodeDisk {
  /** The last entry of the log that is durable. */
  logIndex: number;
  /** Where the state stands when all its writes have ended. */
  stateIndex: number;
  /** Up to where it is durable. */
  flushedIndex: number;
  /** Where the state in the memory of the present process stands. */
  memoryIndex: number;
  /** What any node had applied when that process began. */
  neededIndex: number;
}

export class StateChecker {
  readonly #violations: Violations;
  readonly #disks = new Map<number, NodeDisk>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  forget(nodeId: number): void {
    this.#disks.delete(nodeId);
  }

  /** A process begins; `appliedMax` was applied somewhere, and was committed then. */
  started(nodeId: number, appliedMax: number): void {
    Object.assign(this.#diskOf(nodeId), { memoryIndex: 0, neededIndex: appliedMax });
  }

  stateLoaded(nodeId: number, index: number): void {
    Object.assign(this.#diskOf(nodeId), { stateIndex: index, flushedIndex: index, memoryIndex: index });
  }

  applied(nodeId: number, index: number): void {
    this.#diskOf(nodeId).memoryIndex = index;
  }

  /** The node tells its VM manager which VMs it wants. */
  touchesVms(nodeId: number): void {
    const { memoryIndex, neededIndex } = this.#diskOf(nodeId);
    if (memoryIndex >= neededIndex) return;
    const detail = `node ${nodeId} touches VMs as of entry ${memoryIndex}; ${neededIndex} was applied before it started`;
    this.#violations.report("no VM is touched before its node has caught up", detail);
  }

  logLoaded(nodeId: number, { base, entries }: LogContents): void {
    this.#diskOf(nodeId).logIndex = base.index + entries.length;
  }

  appended(nodeId: number, { entries }: LogWrite): void {
    const last = entries.at(-1);
    if (last !== undefined) this.#diskOf(nodeId).logIndex = last.index;
  }

  logReset(nodeId: number, index: number): void {
    this.#diskOf(nodeId).logIndex = index;
  }

  /** The state of a snapshot, or of the memory of the node, takes the place of all that was stored. */
  replacing(nodeId: number, index: number): void {
    this.#assertInLog(nodeId, index);
  }

  replaced(nodeId: number, index: number): void {
    Object.assign(this.#diskOf(nodeId), { stateIndex: index, flushedIndex: index, memoryIndex: index });
  }

  writing(nodeId: number, { index, rows, chain }: StateWrite): void {
    this.#assertInLog(nodeId, index);
    const disk = this.#diskOf(nodeId);
    const last = rows.at(-1);
    const isWhole =
      last?.index === index &&
      chain !== undefined &&
      toHex(chain) === last.hash &&
      rows.every((row, at) => row.index > disk.stateIndex && row.index === index - rows.length + 1 + at);
    disk.stateIndex = index;
    if (isWhole) return;
    const detail = `node ${nodeId} stores a state as of ${index} with hashes from ${rows[0]?.index} to ${last?.index}`;
    this.#violations.report("the state is stored as of an entry", detail);
  }

  /** `index`: where the state stood when the flush was asked for. */
  flushed(nodeId: number, index: number): void {
    const disk = this.#diskOf(nodeId);
    disk.flushedIndex = Math.max(disk.flushedIndex, index);
  }

  stateIndexOf(nodeId: number): number {
    return this.#diskOf(nodeId).stateIndex;
  }

  compacting(nodeId: number, index: number): void {
    const { flushedIndex } = this.#diskOf(nodeId);
    if (index <= flushedIndex) return;
    const detail = `node ${nodeId} forgets its log up to ${index}, and its state is durable up to ${flushedIndex}`;
    this.#violations.report("the log keeps what the state does not have", detail);
  }

  /** A node is there long after a write of its state has failed. */
  outlivedFailure(nodeId: number): void {
    const detail = `node ${nodeId} goes on, and cannot write its state`;
    this.#violations.report("a node that cannot write its state ends", detail);
  }

  #assertInLog(nodeId: number, index: number): void {
    const { logIndex } = this.#diskOf(nodeId);
    if (index <= logIndex) return;
    const detail = `node ${nodeId} stores a state as of ${index}, and its log is durable up to ${logIndex}`;
    this.#violations.report("no state is stored before its log", detail);
  }

  #diskOf(nodeId: number): NodeDisk {
    let disk = this.#disks.get(nodeId);
    if (disk === undefined) {
      disk = { logIndex: 0, stateIndex: 0, flushedIndex: 0, memoryIndex: 0, neededIndex: 0 };
      this.#disks.set(nodeId, disk);
    }
    return disk;
  }
}
