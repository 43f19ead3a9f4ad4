import { describe, expect, it } from "@jest/globals";
import { Assembler, condition } from "./assembler.ts";

describe("Assembler", () => {
  it("fills references to labels before and after them", () => {
    const program = new Assembler(0x1000);
    program.label("start").jump("end").jumpIf(condition.equal, "start");
    program.reference("absolute32", "end").reference("low16", "end", 0x10_0000).reference("high16", "end", 0x10_0000);
    program.label("end");
    expect([...program.assemble()]).toEqual([
      ...[0xe9, 14, 0, 0, 0],
      ...[0x0f, 0x84, 0xf5, 0xff, 0xff, 0xff],
      ...[0x13, 0x10, 0, 0],
      ...[0x13, 0x10],
      ...[0x10, 0x00],
    ]);
  });

  it("refuses a label that is missing or stands twice", () => {
    expect(() => new Assembler(0).jump("nowhere").assemble()).toThrow("label nowhere is missing");
    expect(() => new Assembler(0).label("a").label("a")).toThrow("label a stands twice");
  });
});
