/** A request as the routes see it. The types of the web framework stay out of what this package exports. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";

export type HttpEnv = { Bindings: HttpBindings; Variables: { requestId: string } };
export type HttpContext = Context<HttpEnv>;
