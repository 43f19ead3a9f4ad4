import { describe, expect, it } from "@jest/globals";
import { settle } from "../testing/virtual-clock.ts";
import { DiskWork } from "./disk-watch.ts";
import { StateWriter } from "./state-writer.ts";

/** A backlog of so many bytes, whose writes end when the test says so. */
function heldBacklog(bytesMax: number) {
  let nowMs = 0;
  const writes: { readonly bytes: number; end(error?: Error): void }[] = [];
  const backlog = {
    bytes: 0,
    store() {
      const { bytes } = this;
      return new Promise<void>((resolve, reject) => {
        const end = (error?: Error) => {
          if (error !== undefined) return reject(error);
          this.bytes -= bytes;
          resolve();
        };
        writes.push({ bytes, end });
      });
    },
  };
  const errors: unknown[] = [];
  const work = new DiskWork(() => nowMs);
  const writer = new StateWriter({ backlog, writes: work, onError: (error) => errors.push(error) }, bytesMax);
  const apply = (bytes: number) => {
    backlog.bytes += bytes;
    writer.applied();
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { writer, writes, errors, work, apply, pass, backlog };
}

describe("StateWriter", () => {
  it("writes once a tick what was applied since, one write at a time", async () => {
    const { writer, writes, apply } = heldBacklog(1_000);
    writer.tick();
    expect(writes).toHaveLength(0);
    apply(1);
    apply(2);
    writer.tick();
    apply(4);
    writer.tick();
    expect(writes.map(({ bytes }) => bytes)).toEqual([3]);
    writes[0]?.end();
    await settle();
    writer.tick();
    expect(writes.map(({ bytes }) => bytes)).toEqual([3, 4]);
    writes[1]?.end();
    await settle();
    writer.tick();
    expect(writes).toHaveLength(2);
  });

  it("does not wait for the tick when there is much to write", () => {
    const { writes, apply } = heldBacklog(1_000);
    apply(499);
    expect(writes).toHaveLength(0);
    apply(1);
    expect(writes).toHaveLength(1);
  });

  it("lets nothing more be applied at its bound until the disk has caught up", async () => {
    const { writer, writes, apply } = heldBacklog(1_000);
    apply(999);
    expect(writer.isFull).toBe(false);
    apply(500);
    expect(writer.isFull).toBe(true);
    let hasRoom = false;
    const waiting = writer.waitForRoom().then(() => {
      hasRoom = true;
    });
    await settle();
    expect([hasRoom, writes.length]).toEqual([false, 1]);
    writes[0]?.end();
    await waiting;
    expect([writer.isFull, hasRoom]).toEqual([false, true]);
  });

  it("reports a write that fails, tries no other, and lets nothing be applied any more", async () => {
    const { writer, writes, errors, apply } = heldBacklog(1_000);
    apply(1);
    writer.tick();
    const failure = new Error("no space left");
    writes[0]?.end(failure);
    await writer.idle();
    expect(errors).toEqual([failure]);
    apply(2_000);
    writer.tick();
    await expect(writer.waitForRoom()).rejects.toBe(failure);
    expect([writes.length, errors.length]).toEqual([1, 1]);
  });

  it("shows a disk that hangs to those who watch it", () => {
    const { writer, work, apply, pass } = heldBacklog(1_000);
    apply(1);
    writer.tick();
    pass(700);
    expect(work.oldestMs()).toBe(700);
  });

  it("has nothing to do for a machine that stores what it applies", async () => {
    const onError = (error: unknown) => {
      throw error;
    };
    const writer = new StateWriter({ backlog: undefined, writes: new DiskWork(() => 0), onError }, 1);
    writer.applied();
    writer.tick();
    expect(writer.isFull).toBe(false);
    await writer.waitForRoom();
  });
});
