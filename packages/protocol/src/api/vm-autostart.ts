/** In which order the VMs of a node start when the node comes up, where their restart policies let them. */
import { z } from "zod";
import { limits } from "../limits.ts";

export const vmAutostartSchema = z
  .object({
    order: z
      .int()
      .min(0)
      .max(limits.vmAutostartOrderMax)
      .describe("when its node comes up, it starts after those of lower orders there; VMs without one start last"),
    delayMs: z
      .int()
      .min(0)
      .max(limits.vmAutostartDelayMsMax)
      .describe("how long those of higher orders wait after it has started")
      .exactOptional(),
  })
  .strict()
  .meta({ since: 3 });
