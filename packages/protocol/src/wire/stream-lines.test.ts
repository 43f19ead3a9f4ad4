import { describe, expect, it } from "@jest/globals";
import { z } from "zod";
import { type StreamMethod, type StreamName, streams } from "../index.ts";
import { encodeStreamItem, readStreamItem, streamItemSchema, streamLineBytesMax } from "./stream-lines.ts";

const served = (Object.entries(streams) as [StreamName, StreamMethod][]).filter(([, { http }]) => http !== undefined);

describe("encodeStreamItem", () => {
  it("writes bytes as base64, which readStreamItem gives back", () => {
    const data = Buffer.from([0, 255, 10, 34]);
    const line = encodeStreamItem({ offset: 3, data });
    expect(line).toBe('{"offset":3,"data":"AP8KIg=="}');
    expect(readStreamItem("vm.logs", JSON.parse(line))).toEqual({ offset: 3, data: new Uint8Array(data) });
  });

  it("keeps the largest key and value within one line", () => {
    const entry = { key: "\u0001".repeat(1_024), value: "\u0001".repeat(64 * 1024), index: 1 };
    expect(encodeStreamItem({ type: "put", entry }).length).toBeLessThan(streamLineBytesMax);
  });
});

describe("readStreamItem", () => {
  it.each<[StreamName, unknown]>([
    ["vm.logs", { offset: 3, data: "no base64" }],
    ["vm.logs", { offset: 3 }],
    ["kv.watch", { type: "moved" }],
    ["kv.watch", null],
  ])("refuses %s %j", (name, line) => {
    expect(() => readStreamItem(name, line)).toThrow(expect.objectContaining({ code: "ANSWER_UNREADABLE" }));
  });
});

describe("streams over HTTP", () => {
  it.each(served)("%s has items that JSON can say, none of which looks like an error", (name) => {
    // Throws for what JSON has no form for, such as bytes in a place that is not looked at.
    const schema = z.toJSONSchema(streamItemSchema(name), { io: "output" });
    const forms = schema.anyOf ?? schema.oneOf ?? [schema];
    for (const form of forms) expect(Object.keys((form as typeof schema).properties ?? {})).not.toContain("error");
  });
});
