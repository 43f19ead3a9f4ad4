import { describe, expect, it } from "@jest/globals";
import { describeTransportAdapter } from "../testing/index.ts";
import { createIrohAdapter } from "./index.ts";

const seedOf = (number: number) => new Uint8Array(32).fill(number);
const optionsOf = (number: number) => ({ secretKey: seedOf(number), relay: false, discovery: false });

describeTransportAdapter({ describe, it, expect }, "iroh", {
  create: async (number) => createIrohAdapter({ ...optionsOf(number), bind: "127.0.0.1:0" }),
  deadAddress: () => "127.0.0.1:9",
});
