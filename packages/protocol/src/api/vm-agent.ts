/** The qemu-guest-agent in a guest: what it says of the guest, and what people ask of it. What it says, the guest says. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { method } from "./definitions.ts";
import { base64Of, nameSchema } from "./values.ts";

const guestAddressSchema = z.object({
  interface: z.string().max(limits.guestInterfaceLengthMax),
  address: z.string().max(limits.guestAddressLengthMax),
});
export type GuestAddress = Readonly<z.infer<typeof guestAddressSchema>>;

/** What the agent says. Absent in a record: none answers. */
export const guestAgentSchema = z
  .object({ addresses: z.array(guestAddressSchema).max(limits.guestAddressesMax) })
  .meta({ since: 3 });
export type GuestAgentView = Readonly<z.infer<typeof guestAgentSchema>>;

const holdsNoNul = (text: string) => !text.includes("\0");
const pathSchema = z
  .string()
  .max(limits.guestPathLengthMax)
  .startsWith("/", "is no path from the root")
  .refine(holdsNoNul, "holds a NUL");
const argumentSchema = z.string().max(limits.guestExecArgumentLengthMax).refine(holdsNoNul, "holds a NUL");

export const vmAgentMethods = {
  "vm.exec": method({
    summary: "run a program in a VM, by the agent in its guest",
    since: 3,
    place: "owner",
    access: "operator",
    writes: false,
    once: true,
    http: [{ verb: "POST", path: "/v1/vms/{name}/exec" }],
    client: { group: "vms", name: "exec", args: "request" },
    request: z
      .object({
        name: nameSchema,
        argv: z
          .array(argumentSchema)
          .min(1)
          .max(limits.guestExecArgumentsMax)
          .describe("the program, and its arguments"),
        input: base64Of(limits.guestExecInputBytesMax).default("").describe("its standard input, in base64"),
        timeoutMs: z.int().min(1).max(limits.guestExecMsMax).default(limits.guestExecMsDefault),
      })
      .strict(),
    response: z.object({
      exitCode: z.int().nullable().describe("null: a signal ended it"),
      signal: z.int().nullable(),
      output: z.string().describe("in base64"),
      errors: z.string().describe("in base64"),
      truncated: z.boolean().describe("there was more of one of both"),
    }),
  }),
  "vm.readFile": method({
    summary: "a piece of a file in a VM, by the agent in its guest",
    since: 3,
    place: "owner",
    access: "operator",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms/{name}/file" }],
    client: { group: "vms", name: "readFile", args: "request" },
    request: z
      .object({
        name: nameSchema,
        path: pathSchema,
        offset: z.int().min(0).default(0),
        bytesMax: z.int().min(1).max(limits.guestFilePieceBytesMax).default(limits.guestFilePieceBytesMax),
      })
      .strict(),
    response: z.object({ data: z.string().describe("in base64"), end: z.boolean() }),
  }),
  "vm.writeFile": method({
    summary: "write a piece of a file in a VM, by the agent in its guest; the piece at 0 begins the file anew",
    since: 3,
    place: "owner",
    access: "operator",
    writes: false,
    http: [{ verb: "POST", path: "/v1/vms/{name}/file" }],
    client: { group: "vms", name: "writeFile", args: "request" },
    request: z
      .object({
        name: nameSchema,
        path: pathSchema,
        offset: z.int().min(0).default(0),
        data: base64Of(limits.guestFilePieceBytesMax).describe("in base64"),
      })
      .strict(),
    response: z.object({}).strict(),
  }),
};
