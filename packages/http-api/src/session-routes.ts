/** Routes by which the page gets in: a secret for a session, who calls, and the end of a session. */
import { BlixardError, notApplied } from "@blixard/common";
import { isAccessRole, type PageSession } from "@blixard/protocol";
import type { HttpContext } from "./http-context.ts";
import { isThisMachine } from "./loopback.ts";
import type { Caller } from "./node-service.ts";
import { readJsonObject } from "./request-body.ts";
import { addNodeRoute, bearerTokenOf, type RouteContext } from "./route-context.ts";

export function addSessionRoutes(context: RouteContext): void {
  const { sessions, service } = context.deps;
  const tokenOf = (request: HttpContext) => bearerTokenOf(request.req.header("authorization")) ?? "";
  addNodeRoute(context, "pageLogin", async (request) => {
    refuseOtherMachines(request);
    const login = sessions.login(tokenOf(request));
    if (login === undefined) {
      throw notApplied("PERMISSION_DENIED", "a session makes no other ones", {
        hint: "Use the token that it is from.",
      });
    }
    return request.json(login, 201);
  });
  addNodeRoute(context, "beginSession", async (request) => {
    refuseOtherMachines(request);
    const { secret } = await readJsonObject(request.env.incoming);
    const begun = typeof secret === "string" ? sessions.begin(secret) : undefined;
    const caller = begun && (await sessions.caller(begun.token, (token) => service().authenticate(token)));
    if (begun === undefined || caller === undefined) {
      throw notApplied("UNAUTHENTICATED", "this login was used already, or is too old", {
        hint: "Ask for another one, or log in with a token.",
      });
    }
    return request.json({ ...sessionOf(caller), ...begun }, 201);
  });
  addNodeRoute(context, "session", async (request) => {
    const expiresUnixMs = sessions.expiresUnixMs(tokenOf(request));
    const session = sessionOf(await context.authenticate(request));
    return request.json(expiresUnixMs === undefined ? session : { ...session, expiresUnixMs });
  });
  addNodeRoute(context, "endSession", async (request) => {
    return request.json({ ended: sessions.end(tokenOf(request)) });
  });
}

function sessionOf({ actor, access }: Caller): PageSession {
  if (isAccessRole(access)) return { actor, role: access };
  throw new BlixardError("PERMISSION_DENIED", `the access "${access}" is no role of a person`);
}

/** A proxy on this machine that speaks for others says so. */
function refuseOtherMachines(request: HttpContext): void {
  const forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"].some(
    (name) => request.req.header(name) !== undefined,
  );
  if (!forwarded && isThisMachine(request.env.incoming.socket.remoteAddress)) return;
  throw notApplied("PERMISSION_DENIED", "a session is begun on the machine of the node only", {
    hint: "Log in with a token.",
  });
}
