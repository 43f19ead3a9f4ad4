import { beforeEach, describe, expect, it } from "@jest/globals";
import { Progress } from "./progress.ts";
import { asLogIndex, asNodeId } from "./types.ts";

const at = asLogIndex;

describe("Progress", () => {
  let peer: Progress;

  beforeEach(() => {
    peer = new Progress(asNodeId(2), at(11), false, { inflightMessagesMax: 2, inflightBytesMax: 1000 });
  });

  it("sends one append with entries as a probe, then waits", () => {
    peer.sentEntries(0, 0);
    expect(peer.paused).toBe(false);
    peer.sentEntries(3, 30);
    expect(peer).toMatchObject({ paused: true, next: 11 });
    expect(peer.acknowledge(at(13))).toBe(true);
    expect(peer).toMatchObject({ paused: false, match: 13, next: 14 });
  });

  it("moves next ahead of the answers while it replicates, until the window is full", () => {
    peer.becomeReplicate();
    expect(peer.next).toBe(1);
    peer.sentEntries(4, 40);
    expect(peer).toMatchObject({ paused: false, next: 5 });
    peer.sentEntries(1, 10);
    expect(peer).toMatchObject({ paused: true, next: 6 });
  });

  it("ignores an acknowledgement that it knows already", () => {
    peer.acknowledge(at(5));
    expect(peer.acknowledge(at(5))).toBe(false);
    expect(peer.acknowledge(at(4))).toBe(false);
    expect(peer.match).toBe(5);
  });

  it("takes only the rejection of the probe that is out", () => {
    expect(peer.reject(at(9), at(3))).toBe(false);
    expect(peer.reject(at(10), at(3))).toBe(true);
    expect(peer.next).toBe(4);
  });

  it("never goes back below what the peer acknowledged", () => {
    peer.acknowledge(at(8));
    expect(peer.reject(at(10), at(0))).toBe(true);
    expect(peer.next).toBe(9);
  });

  it("falls back to the acknowledged index when replication is rejected", () => {
    peer.acknowledge(at(8));
    peer.becomeReplicate();
    peer.sentEntries(5, 50);
    expect(peer.reject(at(8), at(0))).toBe(false);
    expect(peer.reject(at(12), at(11))).toBe(true);
    expect(peer.next).toBe(9);
  });

  it("probes behind a snapshot that was delivered, and from the old place when it was not", () => {
    peer.becomeSnapshot(at(50));
    expect(peer.paused).toBe(true);
    peer.becomeProbe();
    expect(peer.next).toBe(51);

    peer.becomeSnapshot(at(50));
    peer.pendingSnapshot = at(0);
    peer.becomeProbe();
    expect(peer.next).toBe(1);
  });

  it("knows when a commit index is news to the peer", () => {
    peer.becomeReplicate();
    peer.sentEntries(5, 50);
    expect(peer.canRaiseCommit(at(3))).toBe(true);
    peer.sentCommit(at(5));
    expect(peer.canRaiseCommit(at(9))).toBe(false);
  });
});
