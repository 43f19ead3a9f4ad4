/** The OpenAPI 3.1 description of the API, made from the route table and the zod schemas of the methods. */
import { type HttpMethodName, type HttpRoute, httpRoutes, pathFields } from "@blixard/client";
import { methods } from "@blixard/protocol";
import { z } from "zod";
import { blixardVersion } from "../version.ts";
import type { HttpOptions } from "./http-types.ts";

interface JsonSchema {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
}

export function openApiDocument(options: HttpOptions): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, route] of Object.entries(httpRoutes) as [HttpMethodName, HttpRoute][]) {
    if (name.startsWith("debug.") && !options.debugApi) continue;
    const operations = paths[route.path] ?? {};
    operations[route.verb.toLowerCase()] = operation(name, route);
    paths[route.path] = operations;
  }
  return {
    openapi: "3.1.0",
    info: { title: "Blixard", version: blixardVersion },
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    paths,
  };
}

function operation(name: HttpMethodName, route: HttpRoute): object {
  const method = methods[name];
  const request = schemaOf(method.request, "input");
  const inPath = new Set(pathFields(route));
  const inQuery = route.verb === "GET" || route.verb === "DELETE";
  const parameters = [];
  const rest: Record<string, unknown> = {};
  for (const [field, schema] of Object.entries(request.properties ?? {})) {
    if (inPath.has(field)) parameters.push({ name: field, in: "path", required: true, schema });
    else if (inQuery) parameters.push({ name: field, in: "query", required: isRequired(request, field), schema });
    else rest[field] = schema;
  }
  const required = Object.keys(rest).filter((field) => isRequired(request, field));
  const body = { type: "object", properties: rest, required };
  const response = route.bytes === "response" ? { "application/json": {}, "application/octet-stream": {} } : undefined;
  return {
    operationId: name,
    ...(method.access === "anyone" ? { security: [] } : {}),
    parameters,
    ...(inQuery ? {} : { requestBody: { content: requestContent(route, body) } }),
    responses: {
      [String(route.successStatus ?? 200)]: {
        description: "success",
        content: response ?? {
          "application/json": { schema: responseSchema(route, schemaOf(method.response, "output")) },
        },
      },
      default: { description: 'an error: {"error":{"code","message","hint","outcome"}}' },
    },
  };
}

function requestContent(route: HttpRoute, body: object): object {
  return route.bytes === "request" ? { "application/octet-stream": {} } : { "application/json": { schema: body } };
}

function responseSchema(route: HttpRoute, schema: JsonSchema): unknown {
  if (route.whole !== undefined) return schema.properties?.[route.whole];
  if (route.merged === undefined) return schema;
  const { [route.merged]: record, ...rest } = schema.properties ?? {};
  return { allOf: [record, { type: "object", properties: rest }] };
}

function isRequired(schema: JsonSchema, field: string): boolean {
  return schema.required?.includes(field) ?? false;
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  return z.toJSONSchema(schema, { io, unrepresentable: "any" }) as JsonSchema;
}
