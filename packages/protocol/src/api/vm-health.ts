/** How the node of a VM finds out whether the guest does its work, and what it does when it does not. */
import { z } from "zod";
import { limits } from "../limits.ts";

const timing = {
  intervalMs: z.int().min(limits.vmHealthIntervalMsMin).max(limits.vmHealthIntervalMsMax).default(5_000),
  timeoutMs: z.int().min(limits.vmHealthTimeoutMsMin).max(limits.vmHealthTimeoutMsMax).default(2_000),
  /** Failures in a row after which the VM is unhealthy. */
  failuresMax: z.int().min(1).max(limits.vmHealthFailuresMax).default(3),
  /** Since the start of the process: before the first success, failures within that time count for nothing. */
  graceMs: z.int().min(0).max(limits.vmHealthIntervalMsMax).default(60_000),
  /** What becomes of an unhealthy VM: it ends, and its restart policy decides; or nothing but that it is said. */
  recovery: z.enum(["restart", "none"]).default("restart"),
};
const argvSchema = z
  .array(
    z
      .string()
      .max(limits.vmHealthArgumentLengthMax)
      .refine((text) => !text.includes("\0"), "holds a NUL"),
  )
  .min(1)
  .max(limits.vmHealthArgumentsMax);
const portSchema = z.int().min(1).max(65_535);

export const vmHealthCheckSchema = z.discriminatedUnion("type", [
  /** Somebody takes a connection at the port of the guest, in its network `user`. */
  z.object({ type: z.literal("tcp"), port: portSchema, ...timing }).strict(),
  /** The answer has a status of 200 to 399. */
  z
    .object({
      type: z.literal("http"),
      port: portSchema,
      path: z
        .string()
        .regex(
          /^\/[\x21-\x7e]*$/,
          "is no path of a URL: it begins with / and has neither spaces nor letters beyond ASCII",
        )
        .max(limits.vmHealthPathLengthMax)
        .default("/"),
      ...timing,
    })
    .strict(),
  /** The text stands in what the guest has written on its serial console since the check before. */
  z
    .object({
      type: z.literal("console"),
      text: z
        .string()
        .min(1)
        .max(limits.vmHealthTextLengthMax)
        .regex(/^[\x20-\x7e]+$/, "is printable ASCII"),
      ...timing,
    })
    .strict(),
  /** The agent in the guest answers. */
  z.object({ type: z.literal("agent"), ...timing }).strict(),
  /** A program, which the agent in the guest starts without a shell, ends with 0 in time. */
  z.object({ type: z.literal("exec"), argv: argvSchema, ...timing }).strict(),
]);
export type VmHealthCheck = Readonly<z.infer<typeof vmHealthCheckSchema>>;

export const vmHealthSchema = z
  .array(vmHealthCheckSchema)
  .max(limits.vmHealthChecksMax)
  .meta({ since: 3, description: "how its node finds out whether the guest does its work" });

/** Whether a check asks a port of the guest. */
export function asksPort({ type }: VmHealthCheck): boolean {
  return type === "tcp" || type === "http";
}

/** Whether a check needs an agent in the guest. */
export function asksAgent({ type }: VmHealthCheck): boolean {
  return type === "agent" || type === "exec";
}

const shownCommandLengthMax = 60;

/** In a few words, for people. */
export function describeCheck(check: VmHealthCheck): string {
  switch (check.type) {
    case "tcp":
      return `tcp ${check.port}`;
    case "http":
      return `http ${check.port}${check.path}`;
    case "console":
      return `console "${check.text}"`;
    case "agent":
      return "agent";
    case "exec":
      return `exec "${check.argv.join(" ").slice(0, shownCommandLengthMax)}"`;
    default:
      return check satisfies never;
  }
}
