/** The address that opens the page of a node of this machine once, logged in. */
import { BlixardError } from "@blixard/common";
import { nodeRoutes, type PageLogin } from "@blixard/protocol";

/** `http` is where the node serves plain HTTP. The secret stands behind the `#`, which no browser sends anywhere. */
export async function pageAddress(http: string, token: string, signal: AbortSignal): Promise<string> {
  const { verb, path } = nodeRoutes.pageLogin;
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${http}${path}`, { method: verb, headers, signal });
  if (!answer.ok) throw new BlixardError("UNAVAILABLE", `${http} gives no login: status ${answer.status}`);
  const { secret } = (await answer.json()) as PageLogin;
  return `${http}/#login=${secret}`;
}
