/** What a node that was started with `--debug-api` tells about its log and its state. */
import { z } from "zod";
import { method } from "./definitions.ts";

export const debugMethods = {
  "debug.log": method({
    summary: "index, term and hash of entries that were applied",
    place: "local",
    access: "admin",
    writes: false,
    http: [{ verb: "GET", path: "/v1/debug/log", whole: "items", debug: true }],
    client: { group: "cluster", name: "log", args: ["from", "to"] },
    request: z.object({ from: z.int().min(0), to: z.int().min(0) }).strict(),
    response: z.object({ items: z.array(z.object({ index: z.int(), term: z.int(), hash: z.string() })) }),
  }),
  "debug.stateHash": method({
    summary: "hash of the state after an entry",
    place: "local",
    access: "admin",
    writes: false,
    http: [{ verb: "GET", path: "/v1/debug/statehash", debug: true }],
    client: { group: "cluster", name: "stateHash", args: ["index"] },
    request: z.object({ index: z.int().min(0) }).strict(),
    response: z.object({ index: z.int(), hash: z.string() }),
  }),
};
