/** Routes by which the page gets in: a secret for a session, who calls, and the end of a session. */
import { BlixardError, notApplied } from "@blixard/common";
import { isAccessRole, type PageSession } from "@blixard/protocol";
import { type Exchange, jsonAnswer } from "./exchange.ts";
import { isThisMachine } from "./loopback.ts";
import type { Caller } from "./node-service.ts";
import { readJsonObject } from "./request-body.ts";
import { addNodeRoute, bearerTokenOf, callerOf, type RouteContext } from "./route-context.ts";

export function addSessionRoutes(context: RouteContext): void {
  const { sessions, service } = context.deps;
  const tokenOf = (exchange: Exchange) => bearerTokenOf(exchange.header("authorization")) ?? "";
  addNodeRoute(context, "pageLogin", async (exchange) => {
    refuseOtherMachines(exchange);
    const login = sessions.login(tokenOf(exchange));
    if (login === undefined) {
      throw notApplied("PERMISSION_DENIED", "a session makes no other ones", {
        hint: "Use the token that it is from.",
      });
    }
    return jsonAnswer(login, 201);
  });
  addNodeRoute(context, "beginSession", async (exchange) => {
    refuseOtherMachines(exchange);
    const { secret } = await readJsonObject(exchange.incoming);
    const begun = typeof secret === "string" ? sessions.begin(secret) : undefined;
    const caller = begun && sessions.caller(begun.token, (token) => service().authenticate(token));
    if (begun === undefined || caller === undefined) {
      throw notApplied("UNAUTHENTICATED", "this login was used already, or is too old", {
        hint: "Ask for another one, or log in with a token.",
      });
    }
    return jsonAnswer({ ...sessionOf(caller), ...begun }, 201);
  });
  addNodeRoute(context, "session", async (exchange) => {
    const expiresUnixMs = sessions.expiresUnixMs(tokenOf(exchange));
    const session = sessionOf(callerOf(context.deps, exchange));
    return jsonAnswer(expiresUnixMs === undefined ? session : { ...session, expiresUnixMs });
  });
  addNodeRoute(context, "endSession", async (exchange) => {
    return jsonAnswer({ ended: sessions.end(tokenOf(exchange)) });
  });
}

function sessionOf({ actor, access }: Caller): PageSession {
  if (isAccessRole(access)) return { actor, role: access };
  throw new BlixardError("PERMISSION_DENIED", `the access "${access}" is no role of a person`);
}

/** A proxy on this machine that speaks for others says so. */
function refuseOtherMachines(exchange: Exchange): void {
  const forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"].some((name) => exchange.header(name) !== undefined);
  if (!forwarded && isThisMachine(exchange.incoming.socket.remoteAddress)) return;
  throw notApplied("PERMISSION_DENIED", "a session is begun on the machine of the node only", {
    hint: "Log in with a token.",
  });
}
