/**
 * How a browser on the machine of a node gets in without a token in an address, a history or a log: whoever has a token asks
 * for a secret, which stands behind the `#` of the page's address, and the page gives it for a session of its own.
 *
 *     secret -- shown once, in time, on this machine --> session --> ends: in 12 h, by its holder, with the node,
 *        '-- used, too late, or too many others --> void                   or with the token that it came from
 *
 * A session is another name for the token behind it: each request asks anew what that may do. All of it is kept in memory.
 */
import { createHash } from "node:crypto";
import { type Clock, type Random, toHex } from "@blixard/common";
import type { Caller } from "./node-service.ts";

const loginMsMax = 2 * 60_000;
const sessionMsMax = 12 * 3_600_000;
/** The oldest gives way. */
const loginsMax = 16;
const sessionsMax = 64;

/** What tells a session from a token that the cluster knows. */
const prefix = "session-";

interface Grant {
  /** The token that it stands for. */
  readonly token: string;
  readonly endMs: number;
  readonly expiresUnixMs: number;
}

export interface BegunSession {
  readonly token: string;
  readonly expiresUnixMs: number;
}

export class PageSessions {
  readonly #deps: { readonly clock: Clock; readonly random: Random };
  readonly #logins = new Map<string, Grant>();
  readonly #sessions = new Map<string, Grant>();

  constructor(deps: { readonly clock: Clock; readonly random: Random }) {
    this.#deps = deps;
  }

  /** A secret that begins a session with the rights of `token`; undefined for one that is of a session itself. */
  login(token: string): { readonly secret: string; readonly expiresUnixMs: number } | undefined {
    if (token.startsWith(prefix)) return undefined;
    const secret = this.#secret();
    const { expiresUnixMs } = this.#grant(this.#logins, secret, { token, lifeMs: loginMsMax, max: loginsMax });
    return { secret, expiresUnixMs };
  }

  /** Undefined for a secret that is not good; it is used up either way. */
  begin(secret: string): BegunSession | undefined {
    const login = this.#find(this.#logins, secret);
    this.#logins.delete(digestOf(secret));
    if (login === undefined) return undefined;
    const token = `${prefix}${this.#secret()}`;
    const grant = { token: login.token, lifeMs: sessionMsMax, max: sessionsMax };
    return { token, expiresUnixMs: this.#grant(this.#sessions, token, grant).expiresUnixMs };
  }

  /** Who holds a token, or the token behind a session, as `authenticate` knows them now. */
  caller(token: string, authenticate: (token: string) => Caller | undefined): Caller | undefined {
    if (!token.startsWith(prefix)) return authenticate(token);
    const session = this.#find(this.#sessions, token);
    return session === undefined ? undefined : authenticate(session.token);
  }

  /** When a session ends; undefined for a token. */
  expiresUnixMs(token: string): number | undefined {
    return this.#find(this.#sessions, token)?.expiresUnixMs;
  }

  /** False for a token, which is no session. */
  end(token: string): boolean {
    return this.#sessions.delete(digestOf(token));
  }

  #secret(): string {
    return toHex(this.#deps.random.bytes(32));
  }

  #grant(
    grants: Map<string, Grant>,
    secret: string,
    { token, lifeMs, max }: { readonly token: string; readonly lifeMs: number; readonly max: number },
  ): Grant {
    const { clock } = this.#deps;
    for (const [key, { endMs }] of grants) if (endMs <= clock.monotonicMs()) grants.delete(key);
    const [oldest] = grants.keys();
    if (grants.size >= max && oldest !== undefined) grants.delete(oldest);
    const grant = { token, endMs: clock.monotonicMs() + lifeMs, expiresUnixMs: clock.unixMs() + lifeMs };
    grants.set(digestOf(secret), grant);
    return grant;
  }

  #find(grants: ReadonlyMap<string, Grant>, secret: string): Grant | undefined {
    const grant = grants.get(digestOf(secret));
    return grant !== undefined && grant.endMs > this.#deps.clock.monotonicMs() ? grant : undefined;
  }
}

/** Looked up by their digest, so that the time that it takes says nothing about the secrets. */
function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
