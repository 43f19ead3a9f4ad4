/**
 * The forms in which the nouns of this folder say their part of the contract. Everything that depends on the contract is
 * made from these definitions: HTTP routes and the OpenAPI document, the groups of the client, who may call, which
 * subject a request id belongs to, and which release understands a command.
 */
import type { z } from "zod";
import type { MethodAccess } from "./access.ts";

/**
 * Where a method runs: `local` on the node that was asked, `read` anywhere after a linearizable read index (or at once
 * when stale reads were asked for), `leader` on the leader, `owner` on the node that owns the VM, or has the volume, of the
 * field `name`.
 */
export type MethodPlace = "local" | "read" | "leader" | "owner";

export type HttpVerb = "GET" | "PUT" | "POST" | "PATCH" | "DELETE";

/** How a method travels over HTTP. Its verb and path are one route of the server. */
export interface HttpRoute {
  readonly verb: HttpVerb;
  /**
   * Parts in braces are fields of the request, percent-encoded. Fields that the path does not name travel in the query of
   * a GET or DELETE, and in the JSON body of the rest.
   */
  readonly path: string;
  /** Fields of the request that this route stands for; its caller does not give them. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** Status of a success; default 200. */
  readonly successStatus?: 201;
  /** Field of the response whose content is merged into the top level of the body. */
  readonly merged?: string;
  /** Field of the response that is the whole body. */
  readonly whole?: string;
  /** Raw bytes travel as they are: in the body of the request, or of the response when it asks for them. */
  readonly bytes?: "request" | "response";
  /** Served only by a node that was started with `--debug-api`. */
  readonly debug?: true;
}

/**
 * How a stream travels over HTTP: a GET whose answer does not end. The fields of the request stand in the path and the
 * query; `wire/stream-lines.ts` says how the items stand in the body. Input does not travel with it.
 */
export interface HttpStreamRoute {
  readonly path: string;
  /** The query parameter that asks for the stream, `?watch=true`, where the path alone asks for the present state. */
  readonly flag: string;
}

/** The call of a typed client that a method becomes: `client.kv.put(key, value, options)`. */
export interface ClientCall {
  readonly group: string;
  readonly name: string;
  /** Fields of the request in the order of the arguments; `request`: the whole of it is one argument. */
  readonly args: readonly string[] | "request";
  /** Field of the response that the client gives instead of the whole. */
  readonly gives?: string;
  /** The response is a page of a list: the client reads all of them, and gives what they all have in `gives`. */
  readonly pages?: true;
}

export interface Method {
  /** What it does, as one line of the reference. */
  readonly summary: string;
  /** The feature level that understands it, as of a command. Absent: every release does that can be a member. */
  readonly since?: number;
  readonly place: MethodPlace;
  /** What the field `name` names, where that is no VM. */
  readonly owned?: "volume";
  /** The least right that a caller needs. */
  readonly access: MethodAccess;
  /** True when the method may change the replicated state. */
  readonly writes: boolean;
  /**
   * Answered by a node that is starting, from what stands on its disk. Its handler uses nothing of Raft.
   */
  readonly whileStarting?: true;
  /**
   * Twice is not the same as once, and nobody remembers that it was done: a client sends it again only when it is known that it
   * did not begin.
   */
  readonly once?: true;
  /** The routes over HTTP, the one that clients use first; absent for what only nodes call. */
  readonly http?: readonly HttpRoute[];
  readonly client?: ClientCall;
  readonly request: z.ZodType;
  readonly response: z.ZodType;
}

/** A method whose answer is a stream of items; items may go in as well while it lasts. */
export interface StreamMethod {
  readonly summary: string;
  /** As of a method. */
  readonly since?: number;
  readonly place: "read" | "owner";
  readonly access: MethodAccess;
  readonly http?: HttpStreamRoute;
  readonly request: z.ZodType;
  readonly input: z.ZodType;
  readonly output: z.ZodType;
}

/**
 * A command of the log. `since` is the feature level that understands it. A field that came later says so in its schema,
 * `z.string().meta({ since: 4 }).exactOptional()`, and so does a value: `z.enum(["kvm", "cloud"]).meta({ sinceValue: { cloud: 4 } })`.
 */
export interface CommandDefinition<Body extends z.ZodObject> {
  readonly since: number;
  /** What the command is about: two requests with one id are the same only if their subject is. Absent: its type alone. */
  readonly subject?: (body: z.output<Body>) => string | number;
  /** The level that this command gives to the cluster. Its entry needs that level. */
  readonly raisesLevelTo?: (body: z.output<Body>) => number;
  readonly body: Body;
}

/** The commands that a release knows, by type. */
export type CommandTable = Readonly<
  Record<
    string,
    Pick<CommandDefinition<z.ZodObject>, "since" | "body"> & {
      readonly subject?: (body: never) => string | number;
      readonly raisesLevelTo?: (body: never) => number;
    }
  >
>;

export function method<const Definition extends Method>(definition: Definition): Definition {
  return definition;
}

export function stream<const Definition extends StreamMethod>(definition: Definition): Definition {
  return definition;
}

export function command<Body extends z.ZodObject>(definition: CommandDefinition<Body>): CommandDefinition<Body> {
  return definition;
}
