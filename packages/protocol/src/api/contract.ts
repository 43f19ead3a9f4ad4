/**
 * The whole contract, put together from its nouns: the methods and streams of the node service, and the commands of the
 * log. Every transport (HTTP, Iroh, gRPC, memory) carries these same methods.
 */
import type { ErrorCode } from "@blixard/common";
import { z } from "zod";
import { limits } from "../limits.ts";
import { actorSchema } from "./access.ts";
import { banCommands, banMethods } from "./ban.ts";
import { blobMethods } from "./blob.ts";
import { capacityMethods } from "./capacity.ts";
import { certMethods } from "./cert.ts";
import { clusterCommands, clusterMethods } from "./cluster.ts";
import { debugMethods } from "./debug.ts";
import type { CommandTable } from "./definitions.ts";
import { imageCommands, imageMethods } from "./image.ts";
import { kvCommands, kvMethods, kvStreams } from "./kv.ts";
import { memberMethods } from "./member.ts";
import { networkCommands, networkMethods } from "./network.ts";
import { nodeCommands, nodeMethods } from "./node.ts";
import { nodeWorkMethods, vmHoldCommands } from "./node-work.ts";
import { operationCommands, operationMethods } from "./operation.ts";
import { quotaCommands, quotaMethods } from "./quota.ts";
import { schedulingCommands, schedulingMethods } from "./scheduling.ts";
import { securityGroupCommands, securityGroupMethods } from "./security-group.ts";
import { ticketCommands, ticketMethods } from "./ticket.ts";
import { tokenCommands, tokenMethods } from "./token.ts";
import { vmCommands, vmMethods, vmStreams } from "./vm.ts";
import { vmDiskCommands, vmDiskMethods } from "./vm-disk-changes.ts";
import { vmMigrateMethods } from "./vm-migrate.ts";
import { vmQueueCommands } from "./vm-queue.ts";
import { vmSetCommands, vmSetMethods } from "./vm-set.ts";
import { volumeCommands, volumeMethods } from "./volume.ts";

export const methods = {
  ...clusterMethods,
  ...kvMethods,
  ...vmMethods,
  ...vmDiskMethods,
  ...vmSetMethods,
  ...volumeMethods,
  ...networkMethods,
  ...securityGroupMethods,
  ...imageMethods,
  ...blobMethods,
  ...nodeMethods,
  ...nodeWorkMethods,
  ...vmMigrateMethods,
  ...operationMethods,
  ...schedulingMethods,
  ...capacityMethods,
  ...quotaMethods,
  ...memberMethods,
  ...ticketMethods,
  ...tokenMethods,
  ...banMethods,
  ...certMethods,
  ...debugMethods,
};
export type Methods = typeof methods;
export type MethodName = keyof Methods;
/** What a caller gives: fields with defaults may be left out. */
export type RequestOf<Name extends MethodName> = z.input<Methods[Name]["request"]>;
/** What a handler gets. */
export type ParsedRequestOf<Name extends MethodName> = z.output<Methods[Name]["request"]>;
export type ResponseOf<Name extends MethodName> = z.output<Methods[Name]["response"]>;
/** The methods that can be called over HTTP; the rest belong to nodes. */
export type HttpMethodName = {
  [Name in MethodName]: Methods[Name] extends { readonly http: unknown } ? Name : never;
}[MethodName];

export const streams = { ...vmStreams, ...kvStreams };
export type Streams = typeof streams;
export type StreamName = keyof Streams;
export type StreamRequestOf<Name extends StreamName> = z.input<Streams[Name]["request"]>;
export type ParsedStreamRequestOf<Name extends StreamName> = z.output<Streams[Name]["request"]>;
export type StreamInputOf<Name extends StreamName> = z.output<Streams[Name]["input"]>;
export type StreamOutputOf<Name extends StreamName> = z.output<Streams[Name]["output"]>;

/**
 * What the log holds. A command is a decision that the leader has made: every time, id, secret hash and placement in it
 * was chosen before it was proposed, so that applying it is a pure function of the state.
 */
export const commands = {
  ...clusterCommands,
  ...nodeCommands,
  ...operationCommands,
  ...schedulingCommands,
  ...quotaCommands,
  ...ticketCommands,
  ...tokenCommands,
  ...banCommands,
  ...imageCommands,
  ...vmCommands,
  ...vmHoldCommands,
  ...vmDiskCommands,
  ...vmQueueCommands,
  ...vmSetCommands,
  ...volumeCommands,
  ...networkCommands,
  ...securityGroupCommands,
  ...kvCommands,
};
export type Commands = typeof commands;
export type CommandType = keyof Commands;
export type CommandBodyOf<Type extends CommandType> = { readonly type: Type } & Readonly<
  z.output<Commands[Type]["body"]>
>;
export type CommandBody = { [Type in CommandType]: CommandBodyOf<Type> }[CommandType];

/** What goes with the body of a command. */
export const commandEnvelope = z.object({
  /** Chosen by the caller; a repeated id within the window returns the first result. Empty: not remembered. */
  requestId: z.string().max(limits.requestIdLengthMax),
  atUnixMs: z.int().min(0),
  actor: actorSchema,
  /** When present, the command is refused unless the object it changes was last changed at this index. */
  ifMatchIndex: z.int().min(0).exactOptional(),
  /** Of the whole request: the same id with another request is refused. Absent where there is no request. */
  requestHash: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .meta({ since: 3 })
    .exactOptional(),
  /**
   * No attempt of this request stands in the log at or before it. Where the window begins later, an attempt may have been
   * forgotten, and the command is refused: it would be done twice.
   */
  sinceIndex: z.int().min(0).meta({ since: 3 }).exactOptional(),
});
export type Command = Readonly<z.output<typeof commandEnvelope>> & { readonly body: CommandBody };

/** What `apply` answers, alike on every replica. */
export type CommandResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly hint?: string };

/** Type and subject of a command, in one line. Not its whole body, which holds ids and times that the leader chose. */
export function commandSubject(body: CommandBody, table: CommandTable = commands): string {
  const subject = table[body.type]?.subject?.(body as never);
  return subject === undefined ? body.type : `${body.type} ${subject}`;
}
