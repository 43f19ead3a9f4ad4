import { discardMetrics, seededRandom, silentLogger } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "./core/types.ts";
import { memoryStateMachine } from "./memory-state-machine.ts";
import type { LogWrite, PeerMessage } from "./ports.ts";
import { openRaftNode } from "./raft-node.ts";
import { MemoryLogStore, MemorySnapshotStore, settle, VirtualClock } from "./testing/index.ts";

/** A disk whose writes from some moment on end when the test says so. */
class HeldLogStore extends MemoryLogStore {
  held = false;
  readonly #waiting: (() => void)[] = [];

  override async append(write: LogWrite): Promise<void> {
    if (this.held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return super.append(write);
  }

  release(): void {
    this.held = false;
    for (const go of this.#waiting.splice(0)) go();
  }
}

describe("RaftNode as a candidate", () => {
  it("asks for votes when its own vote is durable, not before", async () => {
    const clock = new VirtualClock();
    const log = new HeldLogStore();
    const asked: PeerMessage[] = [];
    const node = await openRaftNode(
      {
        ...{ clock, log, random: seededRandom(1), logger: silentLogger, metrics: discardMetrics },
        snapshots: new MemorySnapshotStore(),
        stateMachine: memoryStateMachine({ apply: () => 0, save: () => new Uint8Array(0), load: () => {} }),
        transport: {
          bind: () => {},
          send: (_, message) => {
            if (message.type === "raft" && message.message.type === "MsgVote") asked.push(message);
            return true;
          },
        },
        onFatal: () => {},
      },
      // Longer than the disk is held, and without a round of questions before the vote.
      { id: asNodeId(1), bootstrap: { voters: [1, 2, 3].map(asNodeId) }, preVote: false, diskFatalMs: 60_000 },
    );
    log.held = true;
    await clock.advance(2_500);
    expect(node.status.value.role).toBe("StateCandidate");
    // Others could elect a node that forgets the term with its power, and elect it a second time in it.
    expect(asked).toEqual([]);
    log.release();
    await settle();
    expect(asked.length).toBeGreaterThanOrEqual(2);
    await node.close();
  });
});
