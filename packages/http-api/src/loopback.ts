/** Who is on the machine of the node. */
import { isLoopbackHost } from "@blixard/common";

/** Whether a connection comes over loopback. */
export function isThisMachine(remoteAddress: string | undefined): boolean {
  return remoteAddress !== undefined && isLoopbackHost(remoteAddress.replace(/^::ffff:/, ""));
}
