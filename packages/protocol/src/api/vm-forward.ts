/** Connections into a guest, from wherever the caller is. */
import { z } from "zod";
import { stream } from "./definitions.ts";
import { bytesSchema, nameSchema } from "./values.ts";

export const vmForwardStreams = {
  /** One TCP connection: what goes in comes out at the guest, and the other way. Each side ends on its own. */
  "vm.forward": stream({
    summary: "a TCP connection to a port of a VM, in one of its networks",
    since: 3,
    place: "owner",
    access: "operator",
    request: z
      .object({
        name: nameSchema,
        port: z.int().min(1).max(65_535),
        /** Absent: `user`, or the first of a VM that is not in that. */
        network: nameSchema.meta({ since: 3 }).exactOptional(),
      })
      .strict(),
    input: bytesSchema,
    output: z.object({
      data: bytesSchema,
      /** True once: the guest has ended its side. */
      ended: z.boolean(),
    }),
  }),
};

/** Over a websocket, where bytes are binary messages: a text that says that no more come. */
export const forwardEnd = "end";
