/** Who is on the machine of the node. */

/** Whether a connection comes over loopback. */
export function isThisMachine(remoteAddress: string | undefined): boolean {
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$|^::1$/.test(remoteAddress ?? "");
}
