import { describe, expect, it } from "@jest/globals";
import { History, type KvCall, type KvOutcome } from "./history.ts";
import { checkRegister } from "./linearizability.ts";

/** Starts (`+name`) and ends (`-name`) in their order; what never ends is unknown. */
function verdict(order: string, operations: Record<string, readonly [KvCall, KvOutcome]>): string {
  const history = new History();
  const running = new Map<string, ReturnType<History["begin"]>>();
  for (const mark of order.split(" ")) {
    const name = mark.slice(1);
    const [call, outcome] = operations[name] ?? [];
    const begun = running.get(name);
    if (call === undefined || outcome === undefined) throw new Error(`no operation ${name}`);
    if (mark.startsWith("+")) running.set(name, history.begin("k", call));
    else if (begun !== undefined) history.end(begun, outcome);
  }
  return checkRegister(history.byKey().get("k") ?? []).type;
}

const put = (value: string): readonly [KvCall, KvOutcome] => [{ type: "put", value }, { type: "done" }];
const get = (value: string | null): readonly [KvCall, KvOutcome] => [{ type: "get" }, { type: "read", value }];
const cas = (from: string | null, to: string, swapped: boolean): readonly [KvCall, KvOutcome] => [
  { type: "cas", from, to },
  { type: "swapped", swapped },
];

describe("checkRegister", () => {
  it("takes operations that follow each other", () => {
    const operations = { a: put("1"), b: get("1"), c: cas("1", "2", true), d: get("2") };
    expect(verdict("+a -a +b -b +c -c +d -d", operations)).toBe("linearizable");
  });

  it("finds a stale read", () => {
    const operations = { a: put("1"), b: put("2"), c: get("1") };
    expect(verdict("+a -a +b -b +c -c", operations)).toBe("violation");
  });

  it("takes the order of overlapping writes that explains the reads", () => {
    const operations = { a: put("1"), b: put("2"), c: put("3"), d: get("3"), e: get("1") };
    expect(verdict("+a +b +c -c +d -d -b -a +e -e", operations)).toBe("linearizable");
    expect(verdict("+a +b +c -c +d -a -d -b +e -e", { ...operations, d: get("1"), e: get("3") })).toBe("violation");
  });

  it("lets a write without an answer happen late, or never", () => {
    const operations = { a: put("1"), b: get(null), c: get("1") };
    expect(verdict("+a +b -b +c -c", operations)).toBe("linearizable");
    expect(verdict("+a +b -b", operations)).toBe("linearizable");
    expect(verdict("+a +c -c +b -b", operations)).toBe("violation");
  });

  it("finds a write that was applied twice", () => {
    const operations = { a: put("1"), b: put("2"), c: get("2"), d: get("1") };
    expect(verdict("+a -a +b -b +c -c +d -d", operations)).toBe("violation");
  });

  it("finds a compare-and-swap that lies", () => {
    expect(verdict("+a -a +b -b", { a: put("1"), b: cas("0", "2", true) })).toBe("violation");
    expect(verdict("+a -a +b -b", { a: put("1"), b: cas("1", "2", false) })).toBe("violation");
  });
});
