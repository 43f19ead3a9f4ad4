/**
 * The HTTP API of a node: the routes of the contract.
 * One request: host and origin, token, route, body, call, answer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { sendAnswer } from "./answer.ts";
import { requestIdOf } from "./call-meta.ts";
import { type Answer, Exchange, jsonAnswer } from "./exchange.ts";
import { HostGuard } from "./host-guard.ts";
import { errorAnswer } from "./http-errors.ts";
import type { HttpOptions, HttpParts } from "./http-types.ts";
import { bindHttpMetrics, type HttpMetrics } from "./metrics.ts";
import { addPageRoutes } from "./page-routes.ts";
import { callerOf, type RouteContext } from "./route-context.ts";
import { RouteTable } from "./route-table.ts";
import { addBlobRoute } from "./routes-blobs.ts";
import { addCallRoutes } from "./routes-calls.ts";
import { addNodeRoutes } from "./routes-node.ts";
import { addStreamRoutes } from "./routes-streams.ts";
import { addSessionRoutes } from "./session-routes.ts";

export type RequestHandler = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

export function createHttpApp(deps: HttpParts, options: HttpOptions): RequestHandler {
  const routes = new RouteTable();
  const context: RouteContext = { deps, options, routes };
  addNodeRoutes(context);
  addPageRoutes(context);
  addSessionRoutes(context);
  addBlobRoute(context);
  addStreamRoutes(context);
  addCallRoutes(context);
  const app = new App(deps, routes, new HostGuard([...options.allowedHosts, deps.endpointId]));
  return (incoming, outgoing) => app.onRequest(incoming, outgoing);
}

class App {
  readonly #deps: HttpParts;
  readonly #routes: RouteTable;
  readonly #guard: HostGuard;
  readonly #metrics: HttpMetrics;

  constructor(deps: HttpParts, routes: RouteTable, guard: HostGuard) {
    this.#deps = deps;
    this.#routes = routes;
    this.#guard = guard;
    this.#metrics = bindHttpMetrics(deps.metrics);
  }

  onRequest(incoming: IncomingMessage, outgoing: ServerResponse): void {
    let exchange: Exchange;
    try {
      // Before anything else looks at the request.
      this.#guard.check(incoming);
      exchange = new Exchange(incoming, outgoing);
    } catch (error) {
      const { status, body } = errorAnswer(error, "", incoming.method !== "GET", this.#deps.logger);
      outgoing.writeHead(status, { "content-type": "application/json", connection: "close" });
      outgoing.end(JSON.stringify(body));
      return;
    }
    this.#serve(exchange).catch((error: unknown) => {
      this.#deps.logger.log("error", "answering failed", { error: String(error) });
      outgoing.destroy();
    });
  }

  async #serve(exchange: Exchange): Promise<void> {
    const { clock, random } = this.#deps;
    const startMs = clock.monotonicMs();
    const { verb } = exchange;
    const found = this.#routes.find(exchange);
    let answer: Answer;
    try {
      exchange.requestId = requestIdOf(exchange, random);
      answer = found === undefined ? this.#refuse(exchange) : await found.handle(exchange);
    } catch (error) {
      answer = this.#errorAnswer(exchange, error);
    }
    const route = found?.template ?? this.#routes.templateOf(exchange.path);
    this.#metrics.requests.add(1, { verb, route, status: `${answer.status}` });
    this.#metrics.duration.observe((clock.monotonicMs() - startMs) / 1000, { verb, route });
    await sendAnswer(exchange, answer, clock);
  }

  /** A caller without a token is told nothing about routes. */
  #refuse(exchange: Exchange): never {
    callerOf(this.#deps, exchange);
    return this.#routes.refuse(exchange);
  }

  #errorAnswer(exchange: Exchange, error: unknown): Answer {
    const writes = !["GET", "HEAD"].includes(exchange.verb);
    const { status, body } = errorAnswer(error, exchange.requestId, writes, this.#deps.logger);
    if (status === 401) exchange.setHeader("www-authenticate", "Bearer");
    return jsonAnswer(body, status);
  }
}
