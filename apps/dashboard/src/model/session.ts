/**
 * Who uses the page. A token is kept in the storage of this tab, which ends with the tab, and stands in no address: the secret
 * of a login is taken out of it before anything else is done.
 */

import { routes } from "virtual:contract";
import type { AccessRole, HttpMethodName } from "@blixard/protocol";
import { signal } from "@preact/signals";
import { beginSession, endSession, read, whoIs } from "./api.ts";
import { ApiError, shownError } from "./api-error.ts";

export interface Session {
  readonly token: string;
  readonly role: AccessRole;
  readonly who: string;
}

/** `undefined`: nobody; `starting`: not known yet. */
export const session = signal<Session | "starting" | undefined>("starting");
export const loginError = signal<ApiError | undefined>(undefined);

const storageKey = "blixard-token";
const loginMark = "#login=";

export const tokenOf = () => (typeof session.value === "object" ? session.value.token : "");

/** Goes on with the login of the address, or with the token of this tab. */
export async function startSession(): Promise<void> {
  const secret = takeSecret();
  if (secret !== undefined)
    await enter(() => beginSession(secret).then((begun) => ({ ...begun, token: begun.token ?? "" })));
  else {
    const token = sessionStorage.getItem(storageKey);
    if (token === null) session.value = undefined;
    else await logIn(token);
  }
}

/** A login in the address of a page that is open already. */
export async function followLogins(): Promise<void> {
  if (location.hash.startsWith(loginMark)) await startSession();
}

export async function logIn(token: string): Promise<void> {
  await enter(async () => {
    await assertServes();
    return { ...(await whoIs(token)), token };
  });
}

/** The page forgets the token, and the node the session. */
export async function logOut(): Promise<void> {
  const token = tokenOf();
  leave(undefined);
  await endSession(token).catch(() => {});
}

/** The token is good no longer. */
export function leave(why: ApiError | undefined): void {
  sessionStorage.removeItem(storageKey);
  session.value = undefined;
  loginError.value = why;
}

const rank: readonly string[] = ["anyone", "local", "viewer", "operator", "admin"];

/** Whether the role of the caller is enough for a method. The node decides; this is for what is offered. */
export function mayCall(name: HttpMethodName): boolean {
  const { value } = session;
  const needed = rank.indexOf(routes[name]?.access ?? "");
  return typeof value === "object" && needed >= 0 && rank.indexOf(value.role) >= needed;
}

async function enter(find: () => Promise<{ token: string; role: AccessRole; actor: { id: string } }>): Promise<void> {
  try {
    const { token, role, actor } = await find();
    sessionStorage.setItem(storageKey, token);
    session.value = { token, role, who: actor.id };
    loginError.value = undefined;
  } catch (error) {
    leave(shownError(error));
  }
}

/** Only voters are shown a token. @throws ApiError */
async function assertServes(): Promise<void> {
  const { nodeId, role = "voter", voters = [] } = await read("", "identity.get", {});
  if (role === "voter") return;
  const places = voters.flatMap(({ addresses }) => addresses).join(", ");
  const hint = `Open the page of a voter${places === "" ? "" : `: ${places}`}.`;
  throw new ApiError(421, "MISDIRECTED", `node ${nodeId} is a ${role}, and is shown no token`, hint);
}

function takeSecret(): string | undefined {
  if (!location.hash.startsWith(loginMark)) return undefined;
  const secret = location.hash.slice(loginMark.length);
  history.replaceState(null, "", location.pathname);
  return secret;
}
