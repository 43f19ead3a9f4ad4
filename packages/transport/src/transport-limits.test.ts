import { encodeRpcFrame, frameBytesMin, rpcFrameOverheadBytes, serviceCallBytesMax } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { assertTransportLimits, transportLimits } from "./transport-limits.ts";

describe("assertTransportLimits", () => {
  it.each([
    ["frameBytesMax", 64 * 1024],
    ["gatherBytesMax", 4 * 1024 * 1024],
    ["rpcStreamItemBytesMax", 256 * 1024],
    ["rpcStreamCreditStepBytes", 200 * 1024],
    ["rpcPayloadUrgentBytesMax", 65 * 1024],
    ["rpcQueueBytesMax", serviceCallBytesMax],
    ["suspectAfterMissed", 3],
  ] as const)("refuses a value of %s that contradicts another limit", (name, value) => {
    expect(() => assertTransportLimits({ ...transportLimits, [name]: value })).toThrow();
    expect(() => assertTransportLimits(transportLimits)).not.toThrow();
  });
});

describe("frameBytesMin", () => {
  it("holds the largest call with the longest envelope", () => {
    const integers = { id: Number.MAX_SAFE_INTEGER, timeoutMs: Number.MAX_SAFE_INTEGER };
    const [method, payload] = ["m".repeat(128), new Uint8Array(serviceCallBytesMax)];
    const request = encodeRpcFrame({ type: "request", ...integers, method, payload });
    const open = encodeRpcFrame({ type: "open", ...integers, method, payload, creditBytes: Number.MAX_SAFE_INTEGER });
    const overheadBytes = Math.max(request.length, open.length) - payload.length;
    expect(overheadBytes).toBeLessThanOrEqual(rpcFrameOverheadBytes);
    expect(frameBytesMin).toBe(serviceCallBytesMax + rpcFrameOverheadBytes);
  });
});
