import type { LostVm } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { fateText } from "./status.ts";

const lost = (...all: LostVm["becomes"][]): LostVm[] =>
  all.map((becomes, at) => ({ vm: `vm-${at}`, becomes, why: "" }));

describe("what status says of the VMs of a silent node", () => {
  it("counts what becomes of them, and says within how many seconds", () => {
    expect(fateText(2, lost("moves", "waits", "moves", "pending"), 7_260)).toBe(
      "2 start elsewhere in 7.3 s, when its lease is over, 1 fits nowhere else, 1 waits for node 2 (blixard capacity --if-lost 2)",
    );
    expect(fateText(2, lost("moves"), 0)).toBe("1 starts elsewhere (blixard capacity --if-lost 2)");
    expect(fateText(2, lost("waits", "waits"), undefined)).toContain("2 wait for node 2");
    expect(fateText(2, [], undefined)).toBe("none of them is to run");
  });
});
