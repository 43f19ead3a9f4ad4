import { describe, expect, it } from "@jest/globals";
import { pathInUse, pathKind } from "./path-in-use.ts";

const pathOf = (id: string, isSelected: boolean, udpTxBytes: number) => {
  const counts = { udpTxDatagrams: 1, udpRxDatagrams: 1, cwnd: 0, congestionEvents: 0, lostPackets: 0, lostBytes: 0 };
  const stats = { ...counts, rttMs: 0, udpTxBytes, udpRxBytes: 0, currentMtu: 1200 };
  return { id, isSelected, remoteAddr: "127.0.0.1:1", isIp: true, isRelay: false, rttMs: 0, stats };
};

describe("pathInUse", () => {
  it("is the selected path, whatever the others carried before", () => {
    expect(pathInUse([pathOf("0", false, 9_000), pathOf("1", true, 10)])?.id).toBe("1");
  });

  it("is the path that carried most when Iroh names none, as it does for some second connections to a peer", () => {
    expect(pathInUse([pathOf("0", false, 8_506)])?.id).toBe("0");
    expect(pathInUse([pathOf("0", false, 100), pathOf("2", false, 8_506), pathOf("3", false, 7)])?.id).toBe("2");
  });

  it("is nothing while no path is open", () => {
    expect(pathInUse([])).toBeUndefined();
  });
});

describe("pathKind", () => {
  it("is that of the path in use, whatever was there before", () => {
    expect(pathKind({ isRelay: true }, "direct", true)).toBe("relay");
    expect(pathKind({ isRelay: false }, "relay", true)).toBe("direct");
  });

  it("stays what it was when an open connection lists no path", () => {
    expect(pathKind(undefined, "relay", true)).toBe("relay");
    expect(pathKind(undefined, "direct", true)).toBe("direct");
  });

  it("is direct where there is no relay, and unknown where there is one", () => {
    expect(pathKind(undefined, "none", false)).toBe("direct");
    expect(pathKind(undefined, "none", true)).toBe("none");
  });
});
