/** The OpenAPI 3.1 description of the API, made from the contract: every route that the node serves. */
import { assert, errorCodes } from "@blixard/common";
import {
  type HttpRoute,
  headers,
  type Method,
  methods,
  type NodeRoute,
  nodeRoutes,
  pathFields,
  type StreamMethod,
  type StreamName,
  streamItemSchema,
  streamMediaTypes,
  streams,
} from "@blixard/protocol";
import { z } from "zod";
import type { HttpOptions } from "./http-types.ts";

interface JsonSchema {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
}

type Paths = Record<string, Record<string, object>>;

export function openApiDocument(options: HttpOptions): object {
  const paths: Paths = {};
  for (const route of Object.values(nodeRoutes)) put(paths, route.verb, route.path, nodeOperation(route));
  for (const [name, method] of Object.entries(methods) as [string, Method][]) {
    for (const route of method.http ?? []) {
      if (route.debug && !options.debugApi) continue;
      put(paths, route.verb, route.path, callOperation(name, method, route));
    }
  }
  return {
    openapi: "3.1.0",
    info: { title: "Blixard", version: options.version },
    security: [{ token: [] }],
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      schemas: { Error: errorSchema },
      parameters: sharedParameters,
      responses: { Error: { description: "an error", content: json({ $ref: "#/components/schemas/Error" }) } },
    },
    paths,
  };
}

function put(paths: Paths, verb: string, path: string, operation: object): void {
  const operations = paths[path] ?? {};
  operations[verb.toLowerCase()] = operation;
  paths[path] = operations;
}

const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "hint", "outcome", "retryable", "requestId"],
      properties: {
        code: { type: "string", enum: Object.keys(errorCodes) },
        message: { type: "string" },
        hint: { type: ["string", "null"] },
        outcome: { type: "string", enum: ["not_applied", "unknown"] },
        retryable: { type: "boolean" },
        requestId: { type: "string" },
        details: { type: "object" },
      },
    },
  },
};

/** What goes with calls in general, each where it has an effect. */
const sharedParameters = {
  timeout: header(headers.timeoutMs, "milliseconds that the caller waits", { type: "integer", minimum: 1 }),
  idempotencyKey: header(headers.idempotencyKey, "the same key applies a write once", { type: "string" }),
  idempotencySince: header(
    headers.idempotencySince,
    "`index` of GET /v1/identity from before the key was used first: where a use of it may be forgotten, the answer is 409",
    { type: "integer", minimum: 0 },
  ),
  ifMatch: header(headers.ifMatch, "refuse unless the object was last changed at this index", { type: "string" }),
  consistency: {
    name: "consistency",
    in: "query",
    description: "stale: from the local state of the node that answers",
    schema: { type: "string", enum: ["linearizable", "stale"] },
  },
};

function header(name: string, description: string, schema: object) {
  return { name, in: "header", description, schema };
}

function shared(method: Method): object[] {
  const names = ["timeout", ...(method.writes ? ["idempotencyKey", "idempotencySince", "ifMatch"] : [])];
  if (method.place === "read") names.push("consistency");
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }));
}

function callOperation(name: string, method: Method, route: HttpRoute): object {
  const request = schemaOf(method.request, "input");
  const inPath = new Set(pathFields(route));
  const inQuery = route.verb === "GET" || route.verb === "DELETE";
  const parameters: object[] = [];
  const rest: Record<string, unknown> = {};
  for (const [field, schema] of Object.entries(request.properties ?? {})) {
    if (route.fixed !== undefined && !inPath.has(field)) continue;
    if (inPath.has(field)) parameters.push({ name: field, in: "path", required: true, schema });
    else if (inQuery) parameters.push(queryParameter(field, schema, isRequired(request, field)));
    else rest[field] = schema;
  }
  const required = Object.keys(rest).filter((field) => isRequired(request, field));
  const body = { type: "object", properties: rest, required, additionalProperties: false };
  const response = json(responseSchema(route, schemaOf(method.response, "output")));
  return {
    operationId: operationId(name, method, route),
    summary: method.summary,
    ...(method.access === "anyone" ? { security: [] } : {}),
    parameters: [...parameters, ...streamParameters(route, request), ...shared(method)],
    ...(inQuery ? {} : { requestBody: { content: requestContent(route, body) } }),
    responses: {
      [String(route.successStatus ?? 200)]: {
        description: "success",
        content: {
          ...response,
          ...(route.bytes === "response" ? { "application/octet-stream": {} } : {}),
          ...streamContent(route),
        },
      },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

/** Items of an array stand in one parameter, with commas between them. */
function queryParameter(name: string, schema: unknown, required: boolean): object {
  const isArray = typeof schema === "object" && schema !== null && "type" in schema && schema.type === "array";
  return { name, in: "query", required, ...(isArray ? { explode: false } : {}), schema };
}

/** The first route of a method has its name, the others that of their last part or their verb as well. */
function operationId(name: string, method: Method, route: HttpRoute): string {
  if (method.http?.[0] === route) return name;
  const last = route.path.split("/").at(-1) ?? "";
  return `${name}.${last.startsWith("{") ? route.verb.toLowerCase() : last}`;
}

/** Streams whose path is that of the call: their flag asks for them. */
function streamsAt(route: HttpRoute): [StreamName, StreamMethod][] {
  const all = Object.entries(streams) as [StreamName, StreamMethod][];
  return route.verb === "GET" ? all.filter(([, { http }]) => http?.path === route.path) : [];
}

/** The flag of each stream, and the fields of its request that the call does not have. */
function streamParameters(route: HttpRoute, call: JsonSchema): object[] {
  return streamsAt(route).flatMap(([, { http, summary, request }]) => {
    if (http === undefined) return [];
    const fields = Object.entries(schemaOf(request, "input").properties ?? {});
    return [
      { name: http.flag, in: "query", description: `true: ${summary}`, schema: { type: "boolean", enum: [true] } },
      ...fields
        .filter(([field]) => !Object.hasOwn(call.properties ?? {}, field))
        .map(([name, schema]) => ({ name, in: "query", description: `with ${http.flag}=true`, schema })),
    ];
  });
}

/** What the streams answer, for each media type. */
function streamContent(route: HttpRoute): Record<string, object> {
  const [stream, ...others] = streamsAt(route);
  assert(others.length === 0, `${route.path} has one stream at most`);
  if (stream === undefined) return {};
  const [name, { summary }] = stream;
  const item = { anyOf: [schemaOf(streamItemSchema(name), "output"), { $ref: "#/components/schemas/Error" }] };
  const lines = `${summary}: one item a line, bytes in base64; empty lines say that the node lives, an error comes last`;
  return {
    [streamMediaTypes.lines]: { schema: { ...item, description: lines } },
    [streamMediaTypes.events]: { schema: { ...item, description: "the same, each item as the data of an event" } },
  };
}

function nodeOperation({ path, verb, summary, access, answers, takes }: NodeRoute): object {
  const { status, mediaType, schema } = answers;
  return {
    operationId: `node.${verb.toLowerCase()}.${path.split("/").at(-1) || "page"}`,
    summary,
    ...(access === "anyone" ? { security: [] } : {}),
    parameters: pathFields({ path }).map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })),
    ...(takes === undefined ? {} : { requestBody: { content: { [takes]: {} } } }),
    responses: {
      [String(status)]: {
        description: "success",
        content: { [mediaType]: schema === undefined ? {} : { schema: schemaOf(schema, "output") } },
      },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

function json(schema: unknown): Record<string, object> {
  return { "application/json": { schema } };
}

function requestContent(route: HttpRoute, body: object): object {
  return route.bytes === "request" ? { "application/octet-stream": {} } : json(body);
}

function responseSchema(route: HttpRoute, schema: JsonSchema): unknown {
  if (route.bytes === "response") return consoleSchema;
  if (route.whole !== undefined) return schema.properties?.[route.whole];
  if (route.merged === undefined) return schema;
  const { [route.merged]: record, ...rest } = schema.properties ?? {};
  return { allOf: [record, { type: "object", properties: rest }] };
}

/** Bytes inside JSON. */
const consoleSchema = {
  type: "object",
  properties: {
    offset: { type: "integer" },
    endOffset: { type: "integer" },
    text: { type: "string" },
    dataBase64: { type: "string", contentEncoding: "base64" },
  },
  required: ["offset", "endOffset", "text", "dataBase64"],
};

function isRequired(schema: JsonSchema, field: string): boolean {
  return schema.required?.includes(field) ?? false;
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  return z.toJSONSchema(schema, { io, unrepresentable: "any" }) as JsonSchema;
}
