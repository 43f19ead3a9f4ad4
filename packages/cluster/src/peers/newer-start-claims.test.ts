import { discardMetrics, silentLogger } from "@blixard/common";
import { VirtualClock } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { bindClusterMetrics } from "../metrics.ts";
import { NewerStartClaims } from "./newer-start-claims.ts";

/** Node 3, whose other voters are 1, 2 and 4; 5 is a worker. */
function claims() {
  const clock = new VirtualClock();
  const ended: string[] = [];
  const heard = new NewerStartClaims({
    ...{ clock, logger: silentLogger, metrics: bindClusterMetrics(discardMetrics), nodeId: 3 },
    otherVoters: () => new Set([1, 2, 4]),
    onReplaced: ({ code }) => ended.push(code),
  });
  return { clock, ended, heard };
}

describe("NewerStartClaims", () => {
  it("ends nobody on the word of a worker, or of one voter, however often", () => {
    const { ended, heard } = claims();
    for (const by of [5, 5, 6, 1, 1, 1]) heard.heard(by);
    expect(ended).toEqual([]);
  });

  it("ends the node when a majority of the other voters say it at the same time", async () => {
    const { clock, ended, heard } = claims();
    heard.heard(1);
    await clock.advance(60_000);
    heard.heard(2);
    expect(ended).toEqual([]);
    heard.heard(1);
    expect(ended).toEqual(["DUPLICATE_NODE"]);
    heard.heard(2);
    expect(ended).toEqual(["DUPLICATE_NODE"]);
  });
});
