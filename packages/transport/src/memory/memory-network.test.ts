import { seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { describeTransportAdapter } from "../testing/index.ts";
import { createMemoryNetwork } from "./index.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });

describeTransportAdapter({ describe, it, expect }, "memory", {
  create: async (number) => network.createAdapter({ endpointId: String(number).repeat(64) }),
  deadAddress: () => "memory:0",
});
