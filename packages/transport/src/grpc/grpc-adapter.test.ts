import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { describeTransportAdapter } from "../testing/index.ts";
import { createGrpcAdapter } from "./index.ts";

const optionsOf = (number: number) => ({ clock: systemClock, secretKey: new Uint8Array(32).fill(number) });

describeTransportAdapter({ describe, it, expect }, "grpc", {
  create: async (number) => createGrpcAdapter({ ...optionsOf(number), bind: "127.0.0.1:0" }),
  deadAddress: () => "127.0.0.1:9",
});
